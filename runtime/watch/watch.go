// Package watch waits for changes of files by inotify(7), and by looking four times a
// second where that is refused: the kernel counts inotify instances and watches
// per user (fs.inotify.max_user_instances, 128 by default, and
// max_user_watches), and every container that runs as root shares them with
// keelson.
package watch

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Interval is the time between two looks without inotify.
const Interval = 250 * time.Millisecond

// Watch is an inotify instance, or what takes its place. One goroutine uses it;
// Close may be called from any.
type Watch struct {
	events *os.File // nil: there is no instance
	fd     int
	polls  bool
	closed chan struct{}
	once   sync.Once
}

// New returns a Watch of nothing yet.
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

// Exhausted reports whether inotify_init1(2) or inotify_add_watch(2) failed for
// want of instances, watches or file descriptors.
func Exhausted(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOSPC)
}

// Add watches path for the events in mask. A path that does not exist is an
// error in both ways of watching.
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

// Polls reports whether Read returns without an event, since something cannot be
// watched.
func (w *Watch) Polls() bool { return w.polls }

// Read waits for events and copies them to buffer, or returns 0 after Interval
// when it polls. It fails after Close.
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

// Close ends a Read.
func (w *Watch) Close() error {
	w.once.Do(func() { close(w.closed) })
	if w.events == nil {
		return nil
	}
	return w.events.Close()
}
