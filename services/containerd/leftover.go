package containerd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/backoff"
	"keelson/runtime/paths"
	"keelson/runtime/prepare"
	"keelson/runtime/procfs"
)

// shimSockets is the folder of the shims' sockets (containerd's pkg/shim,
// SocketAddress).
const shimSockets = paths.ShimSockets

// runcRoot is the folder of runc's containers, by namespace (containerd-shim-runc-v2,
// process.RuncRoot).
const runcRoot = paths.ContainerdState + "/runc"

const (
	// killTime is how long killed processes may take to end.
	killTime = 10 * time.Second
	killPoll = time.Millisecond
	// deleteTries is how often runc is started to delete a container: it may be killed.
	deleteTries = 3
)

// removeLeftover removes what is on the machine of a task that containerd was creating or
// deleting when it was killed, and that it does not know now: otherwise containerd would use that
// shim, which may not answer, for a new task, and nothing would ever end the container.
// It returns the cgroups in which processes were. A shim that has another task, which containerd
// knows, is not touched: tasks may share one.
func (c *Client) removeLeftover(ctx context.Context, namespace, id string) (cgroups []string, err error) {
	known, err := c.List(ctx, namespace)
	if err != nil {
		return nil, err
	}
	var used []int
	for _, t := range known {
		used = append(used, t.PID)
	}
	if cgroups, err = killShims(ctx, "/proc", c.socket, shim{0, namespace, id}, used); err != nil {
		return nil, err
	}
	if err := c.deleteLeftContainer(ctx, namespace, id); err != nil {
		return nil, err
	}
	if err := os.Remove(c.shimSocket(namespace, id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot remove the socket of an earlier task %s: %w", id, err)
	}
	if err := removeBundle(c.bundleOf(namespace, id)); err != nil {
		return nil, fmt.Errorf("cannot remove the remains of an earlier task %s: %w", id, err)
	}
	return cgroups, nil
}

func (c *Client) shimSocket(namespace, id string) string {
	return filepath.Join(shimSockets, fmt.Sprintf("%x", sha256.Sum256([]byte(filepath.Join(c.socket, namespace, id)))))
}

// bundles is containerd's folder of bundles, by namespace (core/runtime/v2).
func (c *Client) bundles() string {
	return filepath.Join(filepath.Dir(c.socket), "io.containerd.runtime.v2.task")
}

func (c *Client) bundleOf(namespace, id string) string {
	return filepath.Join(c.bundles(), namespace, id)
}

// hasLeftover reports whether there is anything of a task.
func (c *Client) hasLeftover(namespace, id string) bool {
	for _, path := range []string{c.shimSocket(namespace, id), filepath.Join(runcRoot, namespace, id)} {
		if _, err := os.Lstat(path); err == nil {
			return true
		}
	}
	return false
}

// deleteLeftContainer makes the runtime kill and delete a container that it has.
func (c *Client) deleteLeftContainer(ctx context.Context, namespace, id string) (err error) {
	for range deleteTries {
		if _, missing := os.Lstat(filepath.Join(runcRoot, namespace, id)); missing != nil || c.runtime == "" {
			return nil
		}
		limited, cancel := context.WithTimeout(ctx, killTime)
		var out []byte
		out, err = exec.CommandContext(limited, c.runtime, "--root", filepath.Join(runcRoot, namespace), "delete", "--force", id).CombinedOutput()
		cancel()
		if err != nil {
			err = fmt.Errorf("cannot delete container %s: %w: %s", id, err, strings.TrimSpace(string(out)))
		}
	}
	if _, missing := os.Lstat(filepath.Join(runcRoot, namespace, id)); missing != nil {
		return nil
	}
	return err
}

// killShims kills the shims of a task, and programs that are about to become one, with all that
// they have started: a shim is the parent of what loses its own (PR_SET_CHILD_SUBREAPER(2const)).
// It returns the cgroups in which that was. A shim is spared that has one of the processes in used.
func killShims(ctx context.Context, proc, socket string, of shim, used []int) (cgroups []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	for {
		all, err := shims(proc, socket)
		if err != nil {
			return nil, err
		}
		left := 0
		for _, s := range all {
			if s.namespace != of.namespace || s.id != of.id || isUsed(proc, s.pid, used) {
				continue
			}
			left++
			cgroups = append(cgroups, cgroupsBelow(proc, s.pid)...)
			if err := killTree(ctx, proc, s.pid); err != nil {
				return nil, fmt.Errorf("cannot kill process %d, the shim of an earlier task %s: %w", s.pid, s.id, err)
			}
		}
		if left == 0 {
			slices.Sort(cgroups)
			return slices.Compact(cgroups), nil
		}
	}
}

// isUsed reports whether one of the processes in used is below pid.
func isUsed(proc string, pid int, used []int) bool {
	return len(used) > 0 && slices.ContainsFunc(procfs.Descendants(proc, pid), func(p int) bool { return slices.Contains(used, p) })
}

// killTree kills a process after all below it, and waits for their end. The process is stopped first, so
// that it starts no more.
func killTree(ctx context.Context, proc string, pid int) error {
	if err := kill(pid, unix.SIGSTOP); err != nil {
		return err
	}
	for {
		alive := slices.DeleteFunc(procfs.Descendants(proc, pid), func(p int) bool { return procfs.Ended(proc, p) })
		if len(alive) == 0 {
			break
		}
		for _, p := range alive {
			if err := kill(p, unix.SIGKILL); err != nil {
				return err
			}
		}
		if !backoff.Wait(ctx, killPoll) {
			return ctx.Err()
		}
	}
	if err := kill(pid, unix.SIGKILL); err != nil {
		return err
	}
	for !procfs.Ended(proc, pid) {
		if !backoff.Wait(ctx, killPoll) {
			return ctx.Err()
		}
	}
	return nil
}

// kill is kill(2); it is no error if the process has ended.
func kill(pid int, signal unix.Signal) error {
	if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// cgroupsBelow returns the paths of the cgroups of the processes below pid which are not those of
// pid, in the hierarchy of version 2 or else in the one of the controller pids.
func cgroupsBelow(proc string, pid int) (paths []string) {
	own := killCgroup(proc, pid)
	for _, p := range procfs.Descendants(proc, pid) {
		if path := killCgroup(proc, p); path != "" && path != "/" && path != own {
			paths = append(paths, path)
		}
	}
	return paths
}

func killCgroup(proc string, pid int) (path string) {
	all, _ := procfs.ReadCgroup(proc, pid) // It may have ended.
	for _, g := range all {
		if g.Has("pids") || g.V2() && path == "" {
			path = g.Path
		}
	}
	return path
}

// shim is a process whose arguments are those of a task's shim, or of a program that becomes one.
type shim struct {
	pid           int
	namespace, id string
}

// shims returns the shims of the containerd that listens on socket. Another containerd with that
// path has another mount namespace.
func shims(proc, socket string) (found []shim, err error) {
	all, err := procfs.PIDs(proc)
	if err != nil {
		return nil, fmt.Errorf("cannot find shims: %w", err)
	}
	own, err := os.Readlink(filepath.Join(proc, "self/ns/mnt"))
	if err != nil {
		return nil, fmt.Errorf("cannot find shims: %w", err)
	}
	for _, pid := range all {
		args, err := procfs.ReadArgs(proc, pid)
		if err != nil && !procfs.Gone(err) {
			return nil, fmt.Errorf("cannot find shims: %w", err)
		}
		namespace, id, ok := shimArgs(args, socket)
		if !ok || pid <= 1 {
			continue
		}
		if mnt, err := os.Readlink(filepath.Join(proc, strconv.Itoa(pid), "ns/mnt")); err == nil && mnt == own {
			found = append(found, shim{pid, namespace, id})
		}
	}
	return found, nil
}

// shimArgs returns what the arguments of a shim of a containerd say.
func shimArgs(args []string, socket string) (namespace, id string, ok bool) {
	option := func(name string) string {
		i := slices.Index(args, "-"+name)
		if i < 0 || i+1 >= len(args) {
			return ""
		}
		return args[i+1]
	}
	if len(args) == 0 || !strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") || option("address") != socket {
		return "", "", false
	}
	namespace, id = option("namespace"), option("id")
	return namespace, id, namespace != "" && id != ""
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
// delete it. What is mounted on its root is not removed.
func removeBundle(path string) (err error) {
	dir, id := filepath.Split(path)
	for _, path := range []string{path, filepath.Join(dir, "."+id)} {
		if err := prepare.UnmountAll(filepath.Join(path, "rootfs")); err != nil {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}
