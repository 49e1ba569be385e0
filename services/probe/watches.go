package probe

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	runtimewatch "keelson/runtime/watch"
)

// Events of folders and of files.
const (
	folderEvents = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	fileEvents   = unix.IN_MODIFY | unix.IN_MOVE_SELF
)

// watches shares one inotify instance, of which a user has only 128. If the kernel refuses
// a watch, since other containers use all instances or watches, the waiter is woken four
// times a second instead. The zero value is ready to use.
type watches struct {
	mu      sync.Mutex
	events  *os.File
	fd      int
	reading sync.WaitGroup
	byID    map[int]map[*watch]struct{}
	stop    chan struct{} // closed to end polling; nil: nothing is polled
}

// polled is the id of all watches that the kernel refused.
const polled = -1

// watch is a path that is watched.
type watch struct {
	id   int
	wake chan<- struct{}
}

// add sends on wake, which must have a buffer, whenever the file or folder at path changes.
func (w *watches) add(path string, mask uint32, wake chan<- struct{}) (*watch, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := polled
	err := w.open()
	if err == nil {
		id, err = unix.InotifyAddWatch(w.fd, path, mask|unix.IN_MASK_ADD)
	}
	if runtimewatch.Exhausted(err) {
		id = polled
		_, err = os.Stat(path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot watch %s: %w", path, err)
	}
	if id == polled {
		w.poll()
	}
	if w.byID[id] == nil {
		w.byID[id] = map[*watch]struct{}{}
	}
	one := &watch{id: id, wake: wake}
	w.byID[id][one] = struct{}{}
	return one, nil
}

func (w *watches) remove(one *watch) {
	if one == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	all, known := w.byID[one.id]
	if _, in := all[one]; !known || !in {
		return
	}
	delete(all, one)
	if len(all) == 0 {
		delete(w.byID, one.id)
		if one.id == polled {
			close(w.stop)
			w.stop = nil
			return
		}
		_, _ = unix.InotifyRmWatch(w.fd, uint32(one.id)) // The kernel has removed the watch if the file was deleted.
	}
}

// poll wakes all waiters of polled watches, until there is none.
func (w *watches) poll() {
	if w.stop != nil {
		return
	}
	stop := make(chan struct{})
	w.stop = stop
	w.reading.Go(func() {
		ticker := time.NewTicker(runtimewatch.Interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				w.mu.Lock()
				w.wake(polled)
				w.mu.Unlock()
			case <-stop:
				return
			}
		}
	})
}

func (w *watches) open() error {
	if w.byID == nil {
		w.byID = map[int]map[*watch]struct{}{}
	}
	if w.events != nil {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot watch files: %w", err)
	}
	w.fd, w.events = fd, os.NewFile(uintptr(fd), "inotify")
	events := w.events
	w.reading.Go(func() { w.read(events) })
	return nil
}

func (w *watches) close() {
	w.mu.Lock()
	if w.events != nil {
		_ = w.events.Close()
	}
	if w.stop != nil {
		close(w.stop)
	}
	w.events, w.byID, w.stop = nil, nil, nil
	w.mu.Unlock()
	w.reading.Wait()
}

func (w *watches) read(events *os.File) {
	buffer := make([]byte, 4096)
	for {
		n, err := events.Read(buffer)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		w.mu.Lock()
		w.deliver(buffer[:n])
		w.mu.Unlock()
	}
}

// deliver wakes the waiters of events.
func (w *watches) deliver(events []byte) {
	for e := range runtimewatch.Events(events) {
		w.wake(e.ID)
		if e.Mask&unix.IN_Q_OVERFLOW != 0 {
			for id := range w.byID {
				w.wake(id)
			}
		}
		if e.Mask&unix.IN_IGNORED != 0 {
			delete(w.byID, e.ID)
		}
	}
}

func (w *watches) wake(id int) {
	for one := range w.byID[id] {
		select {
		case one.wake <- struct{}{}:
		default: // It has been woken already.
		}
	}
}
