package containerd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/runtime/procfs"
)

// shimSockets is where shims listen (containerd's pkg/shim, SocketAddress).
const shimSockets = "/run/containerd/s"

// removeLeftover makes room for a task that containerd does not know, but which
// it was making, or taking apart, when it was killed: a shim that was never
// told to make a container, and does not answer, would be taken for the new
// task's.
func (c *Client) removeLeftover(namespace, id string) error {
	socket := filepath.Join(shimSockets, fmt.Sprintf("%x", sha256.Sum256([]byte(filepath.Join(c.socket, namespace, id)))))
	if _, err := os.Lstat(socket); err != nil {
		return nil
	}
	for _, pid := range shims("/proc", c.socket, namespace, id) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("cannot kill process %d, a shim that is left of task %s: %w", pid, id, err)
		}
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove what is left of task %s: %w", id, err)
	}
	return nil
}

// shims are the processes that are the shim of a task, by their arguments.
func shims(proc, socket, namespace, id string) (pids []int) {
	all, _ := procfs.PIDs(proc)
	for _, pid := range all {
		args, err := procfs.ReadArgs(proc, pid)
		if err == nil && pid > 1 && len(args) > 0 && isShim(args, socket, namespace, id) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func isShim(args []string, socket, namespace, id string) bool {
	option := func(name string) string {
		i := slices.Index(args, "-"+name)
		if i < 0 || i+1 >= len(args) {
			return ""
		}
		return args[i+1]
	}
	return strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") &&
		option("address") == socket && option("namespace") == namespace && option("id") == id
}

// inTheWay is the folder that keeps a task from being made: containerd does
// not clean up twice after a task, so what it began to remove when it was
// killed stays. The error's own words name it; empty when that is not it.
func inTheWay(err error, namespace, id string) string {
	if err == nil {
		return ""
	}
	_, rest, _ := strings.Cut(err.Error(), "mkdir ")
	path, _, found := strings.Cut(rest, ": file exists")
	if !found || !filepath.IsAbs(path) || filepath.Clean(path) != path ||
		!strings.HasSuffix(path, filepath.Join("/io.containerd.runtime.v2.task", namespace, id)) {
		return ""
	}
	return path
}

// clear removes that folder, and the one that it becomes while it is removed.
func (c *Client) clear(path string) error {
	dir, id := filepath.Split(path)
	return errors.Join(os.RemoveAll(path), os.RemoveAll(filepath.Join(dir, "."+id)))
}
