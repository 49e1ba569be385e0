package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/procfs"
)

// largestMessage is the size of the largest message, in bytes. Longer ones are dropped.
const largestMessage = 4096

// notifyName is the name of the socket in the private folder of its container.
const notifyName = "notify"

// NotifySocket returns the NOTIFY_SOCKET of a container that is about to be created. It is
// in dir, a private folder of the container (prepare.PrivateDir). Without one, it is an
// abstract name with a random part: another process in the container's network namespace
// can see the name and bind it while it is free, but cannot guess that of the next start.
func NotifySocket(service, dir string) string {
	if dir == "" {
		return "@keelson/" + service + "/" + rand.Text()
	}
	return filepath.Join(dir, notifyName)
}

// NotifySocketOf returns the NOTIFY_SOCKET of a container from the environment of its
// first process; empty if it has none.
func NotifySocketOf(pid int) string {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return ""
	}
	return notifySocketIn(string(environ))
}

// notifySocketIn returns the last NOTIFY_SOCKET that NotifySocket could have returned. The
// supervisor appends its variables, so the last one is its own.
func notifySocketIn(environ string) (socket string) {
	for entry := range strings.SplitSeq(environ, "\x00") {
		value, ok := strings.CutPrefix(entry, "NOTIFY_SOCKET=")
		if ok && (strings.HasPrefix(value, "@keelson/") || filepath.IsAbs(value) && filepath.Base(value) == notifyName) {
			socket = value
		}
	}
	return socket
}

// Notify receives the messages of a service.
type Notify struct {
	// Report is called by Serve with what the service reports to the journal of events, unless it
	// is nil. Too many reports are dropped, which the next one says.
	Report func(text string)

	file    *os.File
	tracker *tracker
	belongs func(pid int) bool
}

// Listen binds the socket of a service, at an address of NotifySocket. pid is the first
// process of the container, which need not have been started yet, and place is the path of
// its cgroup. Messages are accepted from processes in that cgroup or below it, but not in the
// cgroups at the paths in others, those of other services. The cgroup of a sender that
// has ended is not known. Its messages are accepted only if no other container can send
// to the socket, since it is in a private folder or network namespace of the container.
func Listen(address string, pid int, place string, others []string) (*Notify, error) {
	belongs, err := senders(address, pid, place, others)
	if err != nil {
		return nil, fmt.Errorf("cannot listen to %s: %w", address, err)
	}
	fd := -1
	if strings.HasPrefix(address, "@") {
		entered := inNetNS(pid, func() { fd, err = bind(address) })
		err = errors.Join(entered, err)
	} else {
		fd, err = bindInFolder(address, pid)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen to %s: %w", address, err)
	}
	return &Notify{file: os.NewFile(uintptr(fd), "notify"), tracker: newTracker(State{}), belongs: belongs}, nil
}

// Resume is Listen for a socket that an earlier supervisor has bound, and which has the
// messages that were sent meanwhile. state is what the service had reported before. The
// time of its watchdog begins anew.
func Resume(socket *os.File, state State, address string, pid int, place string, others []string) (*Notify, error) {
	belongs, err := senders(address, pid, place, others)
	if err != nil {
		return nil, fmt.Errorf("cannot receive messages at %s: %w", address, err)
	}
	state.Alive = time.Now()
	return &Notify{file: socket, tracker: newTracker(state), belongs: belongs}, nil
}

// senders returns a function that reports whether messages of a process are accepted.
func senders(address string, pid int, place string, others []string) (belongs func(pid int) bool, err error) {
	own, err := readCgroup(pid)
	if err != nil {
		return nil, err
	}
	own = own.ofService(place)
	private := !strings.HasPrefix(address, "@") || !sameNetNS(pid)
	return func(pid int) bool {
		sender, err := readCgroup(pid)
		return err == nil && own.contains(sender, others) || private && hasEnded(pid)
	}, nil
}

// bindInFolder binds a socket in the private folder of a container, and replaces that of
// an earlier supervisor which is not kept. All users of the container may send to it.
func bindInFolder(path string, pid int) (int, error) {
	folder, err := openFolder(filepath.Dir(path), pid)
	if err != nil {
		return -1, err
	}
	defer unix.Close(folder)
	fd := -1
	err = asOwner(folder, func() error {
		if err := unix.Unlinkat(folder, notifyName, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("cannot remove the old socket: %w", err)
		}
		var err error
		if fd, err = bind(fmt.Sprintf("/proc/self/fd/%d/%s", folder, notifyName)); err != nil {
			return err
		}
		return unix.Fchmodat(folder, notifyName, 0o666, 0)
	})
	if err != nil && fd >= 0 {
		_ = unix.Close(fd)
		fd = -1
	}
	return fd, err
}

// openFolder opens (O_PATH) a private folder in the root of process pid.
func openFolder(dir string, pid int) (int, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open root of process %d: %w", pid, err)
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, dir, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, fmt.Errorf("cannot open %s of process %d: %w", dir, pid, err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		_ = unix.Close(fd)
		return -1, errors.Join(fmt.Errorf("cannot use %s of process %d: not a tmpfs", dir, pid), err)
	}
	return fd, nil
}

// asOwner calls f on one thread as the user and group that own a folder (setfsuid(2)): in
// a file system of another user namespace, no other user can create a file (EOVERFLOW).
func asOwner(folder int, f func() error) error {
	var st unix.Stat_t
	if err := unix.Fstat(folder, &st); err != nil {
		return err
	}
	runtime.LockOSThread()
	gid, err := unix.SetfsgidRetGid(int(st.Gid))
	if err != nil {
		return err
	}
	uid, err := unix.SetfsuidRetUid(int(st.Uid))
	if err == nil {
		err = f()
	}
	_, back := unix.SetfsuidRetUid(uid)
	_, backGroup := unix.SetfsgidRetGid(gid)
	if back == nil && backGroup == nil { // Otherwise no other goroutine may use this thread.
		runtime.UnlockOSThread()
	}
	return err
}

// hasEnded reports whether a process does not exist or is a zombie, which is no longer in
// its cgroup of version 1.
func hasEnded(pid int) bool {
	stat, err := procfs.ReadStat("/proc", pid)
	return err != nil || stat.Zombie()
}

// sameNetNS reports whether a process is in the network namespace of this one.
func sameNetNS(pid int) bool {
	own, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return true
	}
	other, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	return err != nil || os.SameFile(own, other)
}

func bind(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// Set before the first message, so that each has its sender.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: name})
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("cannot bind %s: %w", name, err)
	}
	return fd, nil
}

// Close closes the socket, so that Serve returns.
func (n *Notify) Close() error { return n.file.Close() }

// Socket returns the socket, which Close and Serve close.
func (n *Notify) Socket() *os.File { return n.file }

// State returns the state that the service has reported.
func (n *Notify) State() State {
	s, _ := n.tracker.current()
	return s
}

// Serve receives messages until ctx ends or Close is called. It calls changed, unless that
// is nil, when the state has changed other than by a sign of life. The message is removed
// from the socket only after that, so that another process which has the socket reads it
// again if this one dies meanwhile.
func (n *Notify) Serve(ctx context.Context, changed func(State)) error {
	defer context.AfterFunc(ctx, func() { _ = n.file.Close() })()
	raw, err := n.file.SyscallConn()
	if err != nil {
		return nil // closed
	}
	buffer, reported := make([]byte, largestMessage), newReports()
	for {
		size, pid, err := peek(raw, buffer)
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("cannot receive messages: %w", err)
		case size > 0 && pid > 0 && n.belongs(pid):
			m := parseMessage(buffer[:size])
			if s, other := n.tracker.update(m); other && changed != nil {
				changed(s)
			}
			if m.report != "" && n.Report != nil {
				if text, ok := reported.pass(m.report, time.Now()); ok {
					n.Report(text)
				}
			}
		}
		if err := drop(raw); err != nil {
			return fmt.Errorf("cannot receive messages: %w", err)
		}
	}
}
