package prepare

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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
			end(pid, func() bool { return slices.Contains(processesIn(root, path), pid) }, deadline)
		}
	}
}

// end kills a process that belongs to the cgroup, and waits for its end. The check comes
// after the descriptor is opened: it cannot be of a later process with the same ID.
func end(pid int, belongs func() bool, deadline time.Time) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // It has ended.
	}
	defer unix.Close(fd)
	if !belongs() || unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return
	}
	timeout := max(0, time.Until(deadline).Milliseconds())
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(timeout)) // A signal only makes it shorter.
}

// processesIn returns the processes of a cgroup in all hierarchies, without this one.
func processesIn(root, path string) (pids []int) {
	all, err := hierarchies(root)
	if err != nil {
		return nil
	}
	for _, h := range all {
		text, _ := os.ReadFile(filepath.Join(h, path, "cgroup.procs")) // It need not exist.
		for word := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil && pid > 1 && pid != os.Getpid() && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
