package nstest

import (
	"path/filepath"
	"strings"

	"keelson/runtime/procfs"
)

// Process is a process of a system.
type Process struct {
	PID, Parent int      // in this process's namespace
	Args        []string // empty for a process that has ended and for kernel threads
}

// Processes returns /init's descendants.
func (s *System) Processes() []Process {
	all := map[int]Process{}
	pids, _ := procfs.PIDs("/proc")
	for _, pid := range pids {
		if p, ok := readProcess(pid); ok {
			all[pid] = p
		}
	}
	var below []Process
	for _, p := range all {
		for at := p; at.Parent > 0; at = all[at.Parent] {
			if at.Parent == s.PID() {
				below = append(below, p)
				break
			}
		}
	}
	return below
}

func readProcess(pid int) (Process, bool) {
	stat, err := procfs.ReadStat("/proc", pid)
	if err != nil {
		return Process{}, false
	}
	p := Process{PID: pid, Parent: stat.Parent}
	p.Args, _ = procfs.ReadArgs("/proc", pid)
	return p, true
}

// Named returns the processes of a program whose arguments contain words, one after the
// other.
func (s *System) Named(program string, words ...string) (pids []int) {
	for _, p := range s.Processes() {
		if len(p.Args) == 0 || filepath.Base(p.Args[0]) != program {
			continue
		}
		if strings.Contains("\x00"+strings.Join(p.Args, "\x00")+"\x00", strings.Join(append([]string{""}, append(words, "")...), "\x00")) {
			pids = append(pids, p.PID)
		}
	}
	return pids
}
