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

	"golang.org/x/sys/unix"

	"keelson/runtime/procfs"
)

// largestMessage is the size of the largest message taken, in bytes: longer
// ones are dropped.
const largestMessage = 4096

// notifyName is the socket's name in the folder of its container.
const notifyName = "notify"

// NotifySocket is a NOTIFY_SOCKET for a container that is about to be made: in
// dir, a private folder of the container (prepare.PrivateDir). Where there is
// none it is an abstract name that nobody had before: whoever shares the
// container's network namespace can see it, and keep it busy when it is free,
// but not know that of the next start.
func NotifySocket(service, dir string) string {
	if dir == "" {
		return "@keelson/" + service + "/" + rand.Text()
	}
	return filepath.Join(dir, notifyName)
}

// NotifySocketOf finds the NOTIFY_SOCKET that a container was made with in the
// environment of its first process; empty when it has none.
func NotifySocketOf(pid int) string {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return ""
	}
	return notifySocketIn(string(environ))
}

// notifySocketIn takes only what NotifySocket could have made. The last one is
// the supervisor's.
func notifySocketIn(environ string) (socket string) {
	for entry := range strings.SplitSeq(environ, "\x00") {
		value, ok := strings.CutPrefix(entry, "NOTIFY_SOCKET=")
		if ok && (strings.HasPrefix(value, "@keelson/") || filepath.IsAbs(value) && filepath.Base(value) == notifyName) {
			socket = value
		}
	}
	return socket
}

// Notify takes a service's messages.
type Notify struct {
	file    *os.File
	teller  *teller
	belongs func(pid int) bool
}

// Listen makes the socket of a service, at an address of NotifySocket, for the
// container whose first process is pid, which need not have been started yet.
// Messages are taken from processes in the cgroup that the first process is in now,
// or below it, but from none in the cgroups at the paths in others: those of other
// services. A process that has ended since cannot be found there: it is believed
// when only those of the container could send, as the socket is in a folder, or a
// network namespace, of the container's own.
//
// When the supervisor has died, the one after it listens at the same address;
// what was sent meanwhile is lost.
func Listen(address string, pid int, others []string) (*Notify, error) {
	abstract := strings.HasPrefix(address, "@")
	own, err := readCgroup(pid)
	if err != nil {
		return nil, fmt.Errorf("cannot listen to %s: %w", address, err)
	}
	own = own.ofService()
	apart := !abstract || !sameNetNS(pid)
	belongs := func(pid int) bool {
		sender, err := readCgroup(pid)
		return err == nil && own.holds(sender, others) || apart && ended(pid)
	}
	fd := -1
	if abstract {
		entered := inNetNS(pid, func() { fd, err = bind(address) })
		err = errors.Join(entered, err)
	} else {
		fd, err = bindInFolder(address, pid)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen to %s: %w", address, err)
	}
	return &Notify{file: os.NewFile(uintptr(fd), "notify"), teller: newTeller(), belongs: belongs}, nil
}

// bindInFolder binds a socket in the private folder of a container, in place of
// the one that an earlier supervisor has left there. All users of the container
// may send to it.
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
		return -1, errors.Join(fmt.Errorf("cannot use %s of process %d: it is no tmpfs", dir, pid), err)
	}
	return fd, nil
}

// asOwner calls f, on one thread, as the user and group that own a folder
// (setfsuid(2)): in a file system of another user namespace nobody else can make
// a file (EOVERFLOW).
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
	if back == nil && backGroup == nil { // Else nobody else gets this thread.
		runtime.UnlockOSThread()
	}
	return err
}

// ended reports whether a process is gone or a zombie, whose cgroup of version 1
// is none of its own any more.
func ended(pid int) bool {
	stat, err := procfs.ReadStat("/proc", pid)
	return err != nil || stat.Zombie()
}

// sameNetNS tells whether a process is in the network namespace of this one.
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
	// Before the first message, so that each says who sent it.
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

// Close takes the socket away. Serve returns.
func (n *Notify) Close() error { return n.file.Close() }

// State is what the service has said up to now.
func (n *Notify) State() State {
	s, _ := n.teller.now()
	return s
}

// Serve takes messages until ctx ends or Close; without it nothing arrives. It
// calls news, unless that is nil, when the state is another; signs of life
// are no news.
func (n *Notify) Serve(ctx context.Context, news func(State)) error {
	defer context.AfterFunc(ctx, func() { _ = n.file.Close() })()
	raw, err := n.file.SyscallConn()
	if err != nil {
		return nil // closed
	}
	buffer := make([]byte, largestMessage)
	for {
		size, pid, err := receive(raw, buffer)
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("cannot take messages: %w", err)
		case size == 0 || pid == 0 || !n.belongs(pid):
			continue
		}
		if s, other := n.teller.take(parseMessage(buffer[:size])); other && news != nil {
			news(s)
		}
	}
}
