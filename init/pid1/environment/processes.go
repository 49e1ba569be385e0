package environment

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"keelson/runtime/procfs"
)

// AdoptOrphans makes this process the new parent of descendants whose parent ends. The
// first process of a PID namespace is that already.
func (e Environment) AdoptOrphans() error {
	if e.First {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot become a subreaper: %w", err)
	}
	return nil
}

// SignalDescendants sends sig to every process that descends from this one.
func SignalDescendants(sig unix.Signal) error {
	parents, err := Parents()
	if err != nil {
		return err
	}
	for _, pid := range descendants(parents, os.Getpid()) {
		_ = unix.Kill(pid, sig) // On failure, the process has ended.
	}
	return nil
}

// Parents returns the parent of every process, by PID.
func Parents() (map[int]int, error) {
	pids, err := procfs.PIDs("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	parents := map[int]int{}
	for _, pid := range pids {
		if stat, err := procfs.ReadStat("/proc", pid); err == nil {
			parents[pid] = stat.Parent
		}
	}
	return parents, nil
}

func descendants(parents map[int]int, root int) []int {
	var found []int
	seen := map[int]bool{root: true}
	for more := true; more; {
		more = false
		for pid, parent := range parents {
			if seen[parent] && !seen[pid] {
				seen[pid], more = true, true
				found = append(found, pid)
			}
		}
	}
	return found
}
