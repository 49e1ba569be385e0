package containerd

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"golang.org/x/sys/unix"

	"keelson/runtime/peer"
	"keelson/runtime/procfs"
)

// KillDaemon sends SIGKILL to the process that listens on containerd's socket.
func (c *Client) KillDaemon() error {
	pid, err := listener(c.socket)
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot kill process %d: %w", pid, err)
	}
	return nil
}

// Daemon returns the process that listens on containerd's socket.
func Daemon(socket string) (pid int, err error) { return listener(socket) }

// listener returns the process that listens on the Unix socket at path. A process that
// hangs is found too: the kernel accepts the connection.
func listener(path string) (pid int, err error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return 0, fmt.Errorf("cannot find containerd: %w", err)
	}
	defer conn.Close()
	daemon, err := peer.Of(conn.(*net.UnixConn))
	if err != nil {
		return 0, fmt.Errorf("cannot find containerd: %w", err)
	}
	if daemon.Pid <= 1 {
		return 0, fmt.Errorf("cannot find containerd: process %d listens on %s", daemon.Pid, path)
	}
	return int(daemon.Pid), nil
}

// daemonName is the command name of containerd's process (proc_pid_comm(5)).
const daemonName = "containerd"

// KillStarting sends SIGKILL to a containerd that is a child of parent and does not
// listen yet: it is found by its name, since it has no socket. It is no error if there
// is none. proc is the path of the proc file system.
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
