package containerd

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"keelson/runtime/procfs"
)

// daemonName is the name of containerd's process (proc_pid_comm(5)).
const daemonName = "containerd"

// KillStarting sends SIGKILL to the containerd that parent has started, by its
// name: one that does not listen yet cannot be found by its socket. It is no
// error when there is none.
func KillStarting(proc string, parent int) error {
	pids, err := procfs.PIDs(proc)
	if err != nil {
		return fmt.Errorf("cannot find containerd: %w", err)
	}
	for _, pid := range pids {
		status, err := procfs.ReadStatus(proc, pid)
		if err != nil || pid == 1 || !isStarting(status, parent) {
			continue
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("cannot kill process %d: %w", pid, err)
		}
	}
	return nil
}

// isStarting reports whether the status is that of a containerd started by parent.
func isStarting(status string, parent int) bool {
	return procfs.StatusField(status, "Name") == daemonName && procfs.StatusField(status, "PPid") == strconv.Itoa(parent)
}
