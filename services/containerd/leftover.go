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

	"keelson/runtime/paths"
	"keelson/runtime/procfs"
)

// shimSockets is the folder of the shims' sockets (containerd's pkg/shim,
// SocketAddress).
const shimSockets = paths.ShimSockets

// removeLeftover removes the shim of a task that containerd was creating or deleting
// when it was killed, and that it does not know now. Otherwise containerd would use
// that shim, which may not answer, for the new task.
func (c *Client) removeLeftover(namespace, id string) error {
	socket := filepath.Join(shimSockets, fmt.Sprintf("%x", sha256.Sum256([]byte(filepath.Join(c.socket, namespace, id)))))
	if _, err := os.Lstat(socket); err != nil {
		return nil
	}
	for _, pid := range shims("/proc", c.socket, namespace, id) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("cannot kill process %d, the shim of an earlier task %s: %w", pid, id, err)
		}
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove the socket of an earlier task %s: %w", id, err)
	}
	return nil
}

// shims returns the processes whose arguments are those of a task's shim.
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

// leftoverBundle returns the bundle folder that keeps containerd from creating a task:
// when it was killed while it deleted an earlier task of the same ID, it does not
// delete the rest. It returns "" when err is another error. Only the text of the error,
// that of os.PathError in containerd's core/runtime/v2, NewBundle, shows the difference:
// its code is codes.Unknown.
func leftoverBundle(err error, namespace, id string) string {
	var e *callError
	if !errors.As(err, &e) {
		return ""
	}
	_, rest, _ := strings.Cut(e.message, "mkdir ")
	path, _, found := strings.Cut(rest, ": file exists")
	if !found || !filepath.IsAbs(path) || filepath.Clean(path) != path ||
		!strings.HasSuffix(path, filepath.Join("/io.containerd.runtime.v2.task", namespace, id)) {
		return ""
	}
	return path
}

// removeBundle removes a bundle folder, also when containerd has already renamed it to
// delete it.
func removeBundle(path string) error {
	dir, id := filepath.Split(path)
	return errors.Join(os.RemoveAll(path), os.RemoveAll(filepath.Join(dir, "."+id)))
}
