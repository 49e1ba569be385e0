// Package powerbutton waits for the power button, with which hypervisors and people
// request a power-off. ACPI and GPIO buttons are input devices
// that report KEY_POWER (kernel doc input/event-codes; struct input_event of
// linux/input.h).
package powerbutton

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"keelson/runtime/watch"
)

const (
	evKey     = 1
	keyPower  = 116
	keyPower2 = 356
	eventSize = 24 // struct input_event on 64-bit: two 64-bit times, type, code, value
)

// Watch calls pressed when a power button is pressed on any present or future input
// device in dir (/dev/input), until ctx ends.
func Watch(ctx context.Context, dir string, pressed func()) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot watch for power buttons: %w", err)
	}
	news, err := watch.New()
	if err != nil {
		return fmt.Errorf("cannot watch for power buttons: %w", err)
	}
	defer news.Close()
	if err := news.Add(dir, unix.IN_CREATE|unix.IN_ATTRIB); err != nil {
		return fmt.Errorf("cannot watch %s for power buttons: %w", dir, err)
	}
	defer context.AfterFunc(ctx, func() { news.Close() })()
	w := watcher{ctx: ctx, open: map[string]bool{}, pressed: pressed}
	defer w.readers.Wait()
	buffer := make([]byte, 4096)
	for {
		w.openAll(dir)
		if _, err := news.Read(buffer); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("cannot watch %s for power buttons: %w", dir, err)
		}
	}
}

type watcher struct {
	ctx     context.Context // ends the readers
	pressed func()
	readers sync.WaitGroup

	mu   sync.Mutex
	open map[string]bool
}

func (w *watcher) openAll(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Type()&fs.ModeCharDevice != 0 && strings.HasPrefix(e.Name(), "event") {
			w.read(filepath.Join(dir, e.Name()))
		}
	}
}

func (w *watcher) read(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open[path] {
		return
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return // It is tried again at its next event.
	}
	w.open[path] = true
	w.readers.Go(func() {
		defer context.AfterFunc(w.ctx, func() { f.Close() })()
		w.follow(f)
		f.Close()
		w.mu.Lock()
		delete(w.open, path)
		w.mu.Unlock()
	})
}

func (w *watcher) follow(f *os.File) {
	buffer := make([]byte, 64*eventSize)
	for {
		n, err := f.Read(buffer)
		for e := buffer[:n]; len(e) >= eventSize; e = e[eventSize:] {
			if isPress(e) {
				w.pressed()
			}
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return // The device was removed, or ctx has ended.
		}
	}
}

// isPress reports whether a struct input_event is the press of a power key.
func isPress(e []byte) bool {
	if len(e) < eventSize {
		return false
	}
	kind, code := binary.NativeEndian.Uint16(e[16:]), binary.NativeEndian.Uint16(e[18:])
	value := binary.NativeEndian.Uint32(e[20:])
	return kind == evKey && (code == keyPower || code == keyPower2) && value == 1
}
