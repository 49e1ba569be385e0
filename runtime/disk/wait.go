package disk

import (
	"context"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"keelson/runtime/uevent"
	"keelson/runtime/watch"
)

// await waits until a device may have appeared: for an event of a disk, or for a change in the
// folder of a path that does not exist, because links in /dev/disk follow the events. It returns
// false when ctx ends.
func await(ctx context.Context, events *uevent.Events, paths []string) bool {
	found, cancel := context.WithCancel(ctx)
	defer cancel()
	if w, err := watch.New(); err == nil {
		done := make(chan struct{})
		defer func() { w.Close(); <-done }()
		there := watchMissing(w, paths)
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

// watchMissing watches the nearest folder that exists of each path that does not. It reports
// whether one exists since.
func watchMissing(w *watch.Watch, paths []string) (there bool) {
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil || !filepath.IsAbs(path) {
			continue
		}
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
