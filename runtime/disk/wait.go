package disk

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/disk/plan"
	"keelson/runtime/uevent"
	"keelson/runtime/watch"
)

// window is the time for which a missing device is waited for.
type window struct {
	limit  time.Duration
	ctx    context.Context // nil while nothing is missing
	cancel context.CancelFunc
}

// open returns a context that ends when the window does, which begins with the first call after close.
func (w *window) open(ctx context.Context) context.Context {
	if w.ctx == nil {
		w.ctx, w.cancel = context.WithTimeout(ctx, w.limit)
	}
	return w.ctx
}

// close is called when a device was not missing any more.
func (w *window) close() {
	if w.ctx != nil {
		w.cancel()
		w.ctx = nil
	}
}

// await waits until a device may have appeared: for an event of a disk, or for one of the paths that
// did not exist, because links in /dev/disk follow the events. It returns false when ctx ends.
func await(ctx context.Context, events *uevent.Events, missing []string) bool {
	found, cancel := context.WithCancel(ctx)
	defer cancel()
	if w, err := watch.New(); err == nil {
		done := make(chan struct{})
		defer func() { w.Close(); <-done }()
		there := watchMissing(w, missing)
		go func() {
			defer close(done)
			if _, err := w.Read(make([]byte, 4096)); err == nil {
				cancel()
			}
		}()
		if there {
			return true
		}
	}
	for {
		event, err := events.Next(found)
		switch {
		case ctx.Err() != nil:
			return false
		case found.Err() != nil || err == nil && (event.Named != "" || event.Lost):
			return true
		case err != nil:
			return false
		}
	}
}

// watchMissing watches the nearest folder that exists of each path. It reports whether one of them
// exists meanwhile.
func watchMissing(w *watch.Watch, missing []string) (there bool) {
	for _, path := range missing {
		dir := filepath.Dir(path)
		for w.Add(dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR) != nil && dir != "/" {
			dir = filepath.Dir(dir)
		}
		if _, err := os.Stat(path); err == nil { // It appeared before the folder was watched.
			return true
		}
	}
	return false
}

// missing returns the paths of w that lead to nothing in a state.
func missing(w plan.Want, s plan.State) []string {
	var all []string
	for _, path := range append([]string{w.Device}, w.Format...) {
		if filepath.IsAbs(path) && s.Paths[path] == "" {
			all = append(all, path)
		}
	}
	return all
}
