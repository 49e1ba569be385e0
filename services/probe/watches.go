package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// What is watched for, of folders and of files.
const (
	folderEvents = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	fileEvents   = unix.IN_MODIFY | unix.IN_MOVE_SELF
)

// watches shares one inotify instance, of which a user has only 128. The zero
// value is ready.
type watches struct {
	mu      sync.Mutex
	events  *os.File
	fd      int
	reading sync.WaitGroup
	byID    map[int]map[*watch]struct{}
}

// watch is one wish to be woken.
type watch struct {
	id   int
	wake chan<- struct{}
}

// add puts something on wake, which must have room for one, whenever what is
// at path changes.
func (w *watches) add(path string, mask uint32, wake chan<- struct{}) (*watch, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.open(); err != nil {
		return nil, err
	}
	id, err := unix.InotifyAddWatch(w.fd, path, mask|unix.IN_MASK_ADD)
	if err != nil {
		return nil, fmt.Errorf("cannot watch %s: %w", path, err)
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
		_, _ = unix.InotifyRmWatch(w.fd, uint32(one.id)) // The file may be gone.
	}
}

func (w *watches) open() error {
	if w.events != nil {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot watch files: %w", err)
	}
	w.fd, w.events, w.byID = fd, os.NewFile(uintptr(fd), "inotify"), map[int]map[*watch]struct{}{}
	events := w.events
	w.reading.Go(func() { w.read(events) })
	return nil
}

func (w *watches) close() {
	w.mu.Lock()
	if w.events != nil {
		_ = w.events.Close()
	}
	w.events, w.byID = nil, nil
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

// deliver wakes whom events are for: each is wd, mask, cookie and len of four
// bytes, then len bytes of a name (inotify(7)).
func (w *watches) deliver(events []byte) {
	for len(events) >= unix.SizeofInotifyEvent {
		id := int(int32(binary.NativeEndian.Uint32(events)))
		mask := binary.NativeEndian.Uint32(events[4:])
		length := int(binary.NativeEndian.Uint32(events[12:]))
		events = events[min(unix.SizeofInotifyEvent+length, len(events)):]
		w.wake(id)
		if mask&unix.IN_Q_OVERFLOW != 0 {
			for id := range w.byID {
				w.wake(id)
			}
		}
		if mask&unix.IN_IGNORED != 0 {
			delete(w.byID, id)
		}
	}
}

func (w *watches) wake(id int) {
	for one := range w.byID[id] {
		select {
		case one.wake <- struct{}{}:
		default: // It is awake.
		}
	}
}
