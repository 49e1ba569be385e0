package prepare

import (
	"errors"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/procfs"
)

// KillLeft kills the processes in the cgroup at path and waits for their end, for limit at
// most. A runtime that was interrupted while it made a container may have left some, and
// refuses to make the next container there as long as they exist. It returns how many
// processes are left.
func KillLeft(path string, limit time.Duration) (left int) { return killLeft(cgroupRoot, path, limit) }

func killLeft(root, path string, limit time.Duration) (left int) {
	if path = filepath.Join("/", path); path == "/" {
		return 0
	}
	for deadline := time.Now().Add(limit); ; {
		pids := processesIn(root, path)
		if len(pids) == 0 || time.Now().After(deadline) {
			return len(pids)
		}
		for _, pid := range pids {
			if err := end(pid, func() bool { return slices.Contains(processesIn(root, path), pid) }, deadline); err != nil {
				return len(pids)
			}
		}
	}
}

// end kills a process that belongs to the cgroup, and waits for its end. The check comes
// after the descriptor is opened: it cannot be of a later process with the same ID.
func end(pid int, belongs func() bool, deadline time.Time) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !belongs() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	timeout := max(0, time.Until(deadline).Milliseconds())
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(timeout)) // A signal only makes it shorter.
	return nil
}

// processesIn returns the processes of a cgroup in all hierarchies.
func processesIn(root, path string) (pids []int) {
	all, err := hierarchies(root)
	if err != nil {
		return nil
	}
	for _, h := range all {
		for _, pid := range procfs.CgroupPIDs(filepath.Join(h, path)) {
			if !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
