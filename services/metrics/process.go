package metrics

import (
	"os"
	"strconv"
	"strings"

	"keelson/runtime/procfs"
)

// Process is one of keelson's own processes.
type Process struct {
	Name     string // supervisor, containerd or shim
	PID      int
	CPU      float64 // seconds
	Resident float64 // bytes
}

// readProcess returns nil if the process has ended.
func readProcess(name string, pid int) *Process {
	cpu, err := procfs.ReadCPUTime("/proc", pid)
	if err != nil {
		return nil
	}
	p := &Process{Name: name, PID: pid, CPU: cpu.Seconds()}
	if text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm"); err == nil { // proc_pid_statm(5): size resident …, in pages
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			if pages := parse(fields[1]); pages != nil {
				p.Resident = *pages * float64(os.Getpagesize())
			}
		}
	}
	return p
}

// readProcesses reads the supervisor, which is this process, containerd unless its ID is 0,
// and the shims: the parents of the first processes of containers.
func readProcesses(containerd int, services []Service) (all []Process) {
	add := func(name string, pid int) {
		if p := readProcess(name, pid); p != nil {
			all = append(all, *p)
		}
	}
	add("supervisor", os.Getpid())
	if containerd > 0 {
		add("containerd", containerd)
	}
	known := map[int]bool{}
	for _, s := range services {
		if s.PID == 0 {
			continue
		}
		stat, err := procfs.ReadStat("/proc", s.PID)
		if err == nil && stat.Parent > 1 && !known[stat.Parent] { // PID 1 is the parent if the shim has died.
			known[stat.Parent] = true
			add("shim", stat.Parent)
		}
	}
	return all
}
