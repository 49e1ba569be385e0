package logs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/runtime/logs/index"
)

func TestCut(t *testing.T) {
	line := strings.Repeat("x", 9) + "\n"
	for _, tt := range []struct {
		name    string
		waiting string
		size    int64
		n       int
		rotate  bool
	}{
		{"room enough", line, 50, 10, false},
		{"nothing", "", 90, 0, false},
		{"to the soft limit", line + line, 68, 20, false},
		{"end of line in the slack", line + line, 80, 20, true},
		{"part of the lines", line + line + line, 80, 20, true},
		{"no end of line yet", "xxxxx", 90, 5, false},
		{"does not fit, begins a file", strings.Repeat("x", 20), 90, 0, true},
		{"longer than a file", strings.Repeat("x", 150), 20, 80, true},
		{"file is too long already", line, 500, 0, true},
	} {
		if n, rotate := cut([]byte(tt.waiting), tt.size, 100); n != tt.n || rotate != tt.rotate {
			t.Errorf("%s: %d, %v", tt.name, n, rotate)
		}
	}
}

// Each step makes progress, and no file exceeds its limit.
func FuzzCut(f *testing.F) {
	f.Add([]byte("a\nb\n"), uint16(90), uint16(100))
	f.Fuzz(func(t *testing.T, waiting []byte, size, limit uint16) {
		limit = max(limit, 16)
		n, rotate := cut(waiting, int64(size), int64(limit))
		if n < 0 || n > len(waiting) || n > 0 && int64(size)+int64(n) > int64(limit) {
			t.Errorf("%d of %d bytes into %d of %d", n, len(waiting), size, limit)
		}
		if len(waiting) > 0 && n == 0 && !(rotate && size > 0) {
			t.Errorf("no progress with %d bytes", len(waiting))
		}
		if rotate && n > 0 && waiting[n-1] != '\n' && bytes.IndexByte(waiting[:n], '\n') >= 0 {
			t.Error("a line is split although there is a line break")
		}
	})
}

// A container with access to the folder of logs cannot make keelson write to or truncate
// another file by replacing a log.
func TestLogReplacedByLink(t *testing.T) {
	dir := t.TempDir()
	victim, log := filepath.Join(dir, "victim"), filepath.Join(dir, "web.log")
	big := strings.Repeat("x", 1000)
	shorten := func(path string) error {
		c := capped{path: path, limit: 100, index: index.NewWriter(path)}
		return c.check()
	}
	for _, replace := range []func(path string) error{
		func(path string) error { return os.Symlink(victim, path) },
		func(path string) error { return unix.Mkfifo(path, 0o600) },
		func(path string) error { return os.Symlink("/dev/null", path) },
	} {
		if err := errors.Join(os.WriteFile(victim, []byte(big), 0o600), replace(log)); err != nil {
			t.Fatal(err)
		}
		to := newTarget(log, MinLimit)
		if err := to.open(); err != nil {
			t.Fatal(err)
		}
		if err := to.note("a line"); err != nil {
			t.Error(err)
		}
		to.close()
		if text, err := os.ReadFile(log); err != nil || string(text) != "a line\n" {
			t.Errorf("log holds %q, %v", text, err)
		}
		// The same for Cap, for the log and the rotated log.
		bounded := filepath.Join(dir, "containerd.log")
		if err := errors.Join(os.WriteFile(bounded, []byte(big), 0o600), replace(Old(bounded)), shorten(bounded)); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(Old(bounded)); err != nil || len(text) != 100 {
			t.Errorf("old log holds %d bytes, %v", len(text), err)
		}
		if err := errors.Join(os.Remove(bounded), replace(bounded)); err != nil {
			t.Fatal(err)
		}
		_ = shorten(bounded)
		if text, err := os.ReadFile(victim); err != nil || string(text) != big {
			t.Errorf("the other file holds %q, %v", text, err)
		}
		for _, path := range []string{log, bounded, Old(bounded)} {
			_ = os.Remove(path)
		}
	}
}

func TestShare(t *testing.T) {
	for _, tt := range []struct {
		total   uint64
		streams int
		want    int64
	}{{0, 0, MinLimit}, {1 << 40, 10, MaxLimit}, {100 << 20, 10, 1 << 20}, {1 << 20, 200, MinLimit}} {
		if got := share(tt.total, tt.streams); got != tt.want {
			t.Errorf("%d for %d: %d", tt.total, tt.streams, got)
		}
	}
	if got := Share("/does/not/exist", 1); got != MinLimit {
		t.Errorf("got %d", got)
	}
}
