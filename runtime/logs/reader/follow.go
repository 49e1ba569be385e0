package reader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/watch"
)

// watched adds events: a folder may be watched already, as that above another one.
const watched = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ONLYDIR | unix.IN_MASK_ADD

// past ends a read that waits.
var past = time.Unix(1, 0)

// watcher waits for changes of logs.
type watcher struct {
	missing []string // folders that do not exist yet
	events  *watch.Watch
	wake    chan struct{} // capacity 1
	again   chan struct{} // capacity 1: the kernel log was read
	done    sync.WaitGroup

	timeline string // name of the file, if it is read
	stop     func()

	mu      sync.Mutex
	changed map[string]bool // names of files without numbers
	all     bool            // every file may have changed
	kernel  bool            // the kernel log has more
	err     error
}

// watch starts to watch all logs until ctx ends.
func (r *reading) watch(ctx context.Context) (*watcher, error) {
	events, err := watch.New()
	if err != nil {
		return nil, fmt.Errorf("cannot follow logs: %w", err)
	}
	w := &watcher{
		missing: slices.Clone(r.set.Folders), events: events,
		wake: make(chan struct{}, 1), again: make(chan struct{}, 1), changed: map[string]bool{},
	}
	for _, h := range r.idle {
		if e, ok := h.source.(*eventLog); ok {
			w.timeline = filepath.Base(e.path)
			w.missing = append(w.missing, filepath.Dir(e.path))
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	w.stop = cancel
	if err := w.add(); err != nil {
		w.close()
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = events.Close() })
	w.done.Go(func() { w.fail(w.watchFiles(ctx)) })
	if len(r.kmsg) > 0 {
		w.done.Go(func() { w.fail(w.watchKernel(ctx, r.kmsg[0])) })
	}
	return w, nil
}

func (w *watcher) close() {
	w.stop()
	_ = w.events.Close()
	w.done.Wait()
}

// add watches folders that were missing, and until then the folders above.
func (w *watcher) add() error {
	var missing []string
	for _, dir := range w.missing {
		err := w.events.Add(dir, watched)
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, dir)
			err = w.events.Add(filepath.Dir(dir), unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR|unix.IN_MASK_ADD)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot follow logs in %s: %w", dir, err)
		}
	}
	w.missing = missing
	return nil
}

func (w *watcher) watchFiles(ctx context.Context) error {
	buffer := make([]byte, 4096)
	for {
		n, err := w.events.Read(buffer)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot follow logs: %w", err)
		}
		if len(w.missing) > 0 {
			if err := w.add(); err != nil {
				return err
			}
		}
		if w.note(buffer[:n]) {
			w.signal()
		}
	}
}

// note stores what changed. It returns false if no log did.
func (w *watcher) note(events []byte) (changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(events) == 0 { // It polls.
		w.all = true
		return true
	}
	for e := range watch.Events(events) {
		base, _ := cutNumber(e.Name)
		_, log := parseName(base)
		switch {
		case e.Name == "" || e.Mask&unix.IN_ISDIR != 0:
			w.all = true
		case log || base == w.timeline:
			w.changed[base] = true
		default: // an index, for example
			continue
		}
		changed = true
	}
	return changed
}

// watchKernel waits for records of the kernel log.
func (w *watcher) watchKernel(ctx context.Context, k *kernelLog) error {
	defer context.AfterFunc(ctx, func() { _ = k.log.SetDeadline(past) })()
	for {
		if err := k.log.Wait(); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return fmt.Errorf("cannot follow the kernel log: %w", err)
		}
		w.mu.Lock()
		w.kernel = true
		w.mu.Unlock()
		w.signal()
		select { // There is a record until it is read.
		case <-w.again:
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *watcher) fail(err error) {
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = errors.Join(w.err, err)
		w.signal()
	}
}

func (w *watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// change is what has changed since the last call of take.
type change struct {
	files  map[string]bool
	all    bool
	kernel bool
}

func (w *watcher) take() (change, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := change{w.changed, w.all, w.kernel}
	w.changed, w.all, w.kernel = map[string]bool{}, false, false
	return c, w.err
}

// ready reports whether a source may have more.
func (c change) ready(s source) bool {
	switch s := s.(type) {
	case *file:
		return c.all || c.files[filepath.Base(s.path)]
	case *eventLog:
		return c.all || c.files[filepath.Base(s.path)]
	case *kernelLog:
		return c.kernel
	}
	return false
}

// followAll returns what comes later.
func (r *reading) followAll(ctx context.Context, w *watcher, yield func(Entry) bool) error {
	c := change{all: true, kernel: true} // What came while the logs were read.
	for {
		r.clock.set()
		if err := r.appeared(c); err != nil {
			return err
		}
		if err := r.merge(ctx, c.ready, yield); err != nil {
			return err
		}
		if c.kernel {
			select {
			case w.again <- struct{}{}:
			default:
			}
		}
		if r.options.Waiting != nil {
			r.options.Waiting()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
		var err error
		if c, err = w.take(); err != nil {
			return err
		}
	}
}

// appeared opens logs that did not exist, if any of the files that changed is not known.
func (r *reading) appeared(c change) error {
	fresh := c.all
	for name := range c.files {
		fresh = fresh || !slices.ContainsFunc(r.known, func(path string) bool { return filepath.Base(path) == name })
	}
	if !fresh {
		return nil
	}
	before := len(r.idle)
	if _, err := r.openFiles(); err != nil {
		return err
	}
	for _, h := range r.idle[before:] {
		if err := h.source.start(r.options.Since); err != nil {
			return err
		}
		h.source.follow()
	}
	return nil
}
