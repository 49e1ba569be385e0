package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"

	"keelson/runtime/backoff"
)

// unixCheck succeeds when a process listens on a socket in the container's file system.
type unixCheck struct {
	path    string // in the container
	pid     int
	watches *watches
}

func (u unixCheck) once(ctx context.Context) error {
	if err := u.connect(ctx); err != nil {
		return fmt.Errorf("unix %s: %w", u.path, err)
	}
	return nil
}

// wait checks again when the folder changes. A socket that exists but is not listened on,
// between bind(2) and listen(2), causes no further event: it is checked again after a
// delay.
func (u unixCheck) wait(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	var err error
	for failures := 1; ; failures++ {
		folder, watched := u.watch(wake)
		err = retryOnce(ctx, err, u.once)
		delay := backoff.Delay(failures, firstPause, lastPause)
		if watched && errors.Is(err, unix.ENOENT) {
			failures, delay = 0, forever
		}
		done := err == nil || !backoff.WaitOrWake(ctx, delay, wake)
		u.watches.remove(folder)
		if done {
			return err
		}
	}
}

// connect tries to connect with each type of socket.
func (u unixCheck) connect(ctx context.Context) error {
	fd, err := u.open(u.path, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d", fd)}
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET, unix.SOCK_DGRAM} {
		var socket int
		socket, err = unix.Socket(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		var c *conn
		if c, err = connect(ctx, socket, to); err == nil {
			return c.Close()
		}
		if !errors.Is(err, unix.EPROTOTYPE) {
			return err
		}
	}
	return err
}

// open opens a path of the container with O_PATH.
func (u unixCheck) open(path string, resolve uint64) (int, error) {
	root, err := unix.Open(u.root(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open root of process %d: %w", u.pid, processGone(err))
	}
	defer unix.Close(root)
	for {
		fd, err := unix.Openat2(root, path, &unix.OpenHow{
			Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve | unix.RESOLVE_NO_MAGICLINKS,
		})
		// A path was renamed while ".." was resolved.
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

func (u unixCheck) root() string { return fmt.Sprintf("/proc/%d/root", u.pid) }

// processGone returns ESRCH for ENOENT: the process does not exist any more, which is not
// to be mistaken for a socket that does not exist yet.
func processGone(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return unix.ESRCH
	}
	return err
}

// watch watches the deepest existing folder on the path of the socket, with all symbolic
// links resolved. It returns false if none can be watched.
func (u unixCheck) watch(wake chan<- struct{}) (*watch, bool) {
	path, err := securejoin.SecureJoin(u.root(), u.path)
	if err != nil {
		return nil, false
	}
	inside := "/" + strings.TrimLeft(strings.TrimPrefix(path, u.root()), "/")
	for inside != "/" {
		inside = filepath.Dir(inside)
		fd, err := u.open(inside, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, false
		}
		defer unix.Close(fd)
		one, err := u.watches.add(fmt.Sprintf("/proc/self/fd/%d", fd), folderEvents, wake)
		return one, err == nil && u.unchanged(inside, fd)
	}
	return nil, false
}

// unchanged reports whether inside is still the deepest existing folder on the path. A
// later change causes an event.
func (u unixCheck) unchanged(inside string, fd int) bool {
	path, err := securejoin.SecureJoin(u.root(), u.path)
	if err != nil || filepath.Dir(path) == u.root()+strings.TrimSuffix(inside, "/") {
		return err == nil
	}
	next, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(path, u.root()+inside), "/"), "/")
	_, err = os.Lstat(filepath.Join(fmt.Sprintf("/proc/self/fd/%d", fd), next))
	return errors.Is(err, unix.ENOENT)
}
