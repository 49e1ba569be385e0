// Package watch waits for changes of files with inotify(7). If the kernel refuses an
// instance or a watch, it polls four times a second: the kernel counts them per user
// (fs.inotify.max_user_instances, 128 by default, and max_user_watches), and all
// containers that run as root share them with keelson.
//
// Apart from services/probe and services/conditions, no other package reads inotify events;
// both use one instance for many watches. services/probe uses the parser of this package.
package watch

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Interval is the polling interval without inotify.
const Interval = 250 * time.Millisecond

// Watch is an inotify instance, or polling in its place. One goroutine uses it; any may
// call Close.
type Watch struct {
	events *os.File // nil if there is no instance
	fd     int
	polls  bool
	closed chan struct{}
	once   sync.Once
}

// New returns a Watch without watched files.
func New() (*Watch, error) {
	w := &Watch{closed: make(chan struct{})}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	switch {
	case err == nil:
		w.fd, w.events = fd, os.NewFile(uintptr(fd), "inotify")
	case Exhausted(err):
		w.polls = true
	default:
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	return w, nil
}

// Exhausted reports whether inotify_init1(2) or inotify_add_watch(2) failed because no
// instance, watch or file descriptor is left.
func Exhausted(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOSPC)
}

// Add watches path for the events in mask. A path that does not exist is an error, also
// when it polls.
func (w *Watch) Add(path string, mask uint32) error {
	if w.events != nil {
		_, err := unix.InotifyAddWatch(w.fd, path, mask)
		if !Exhausted(err) {
			return err
		}
		w.polls = true
	}
	var info unix.Stat_t
	err := unix.Stat(path, &info)
	if err == nil && mask&unix.IN_ONLYDIR != 0 && info.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	return err
}

// Polls reports whether Read returns without an event because a file cannot be watched
// by inotify.
func (w *Watch) Polls() bool { return w.polls }

// Read waits for events and copies them to buffer, for Events. When it polls, it returns
// 0 after Interval. After Close it fails.
func (w *Watch) Read(buffer []byte) (int, error) {
	if !w.polls {
		return w.events.Read(buffer)
	}
	timer := time.NewTimer(Interval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0, nil
	case <-w.closed:
		return 0, os.ErrClosed
	}
}

// Close closes the instance and ends a Read.
func (w *Watch) Close() error {
	w.once.Do(func() { close(w.closed) })
	if w.events == nil {
		return nil
	}
	return w.events.Close()
}
