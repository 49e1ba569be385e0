package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/testvm/nstest"
)

// With and without inotify, a change is noticed, and Close ends a Read.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(filepath.Join(dir, "none"), unix.IN_CREATE); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := w.Add(dir, unix.IN_CREATE|unix.IN_ONLYDIR); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Add(file, unix.IN_CREATE|unix.IN_ONLYDIR); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file as a folder: %v", err)
	}
	buffer := make([]byte, 4096)
	if n, err := w.Read(buffer); err != nil || n == 0 != w.Polls() {
		t.Errorf("read %d bytes, %v; polls: %v", n, err, w.Polls())
	}
	go w.Close()
	for err == nil {
		_, err = w.Read(buffer)
	}
	if !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestWithoutInotify(t *testing.T) { nstest.WithoutInotify(t, "TestWatch") }
