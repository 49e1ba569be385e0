package runner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// folder makes a folder of executable files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRun(t *testing.T) {
	never := func() { t.Error("reported as slow") }
	dir := folder(t, map[string]string{
		"good": "#!/bin/sh\nread x && exit 9\npwd >\"$0.out\"\n", "bad": "#!/bin/sh\nexit 3\n", "killed": "#!/bin/sh\nkill -SEGV $$\n",
		"background": "#!/bin/sh\nsleep 60 &\necho $! >\"$0.out\"\n",
		"no-shell":   "#!/no/such/shell\n", "text": "just text\n",
	})
	for name, want := range map[string]string{"good": "exited 0", "bad": "exited 3", "killed": "killed by SIGSEGV", "background": "exited 0"} {
		if got, err := Run(t.Context(), filepath.Join(dir, name), SlowAfter, never); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if cwd, _ := os.ReadFile(filepath.Join(dir, "good.out")); string(cwd) != "/\n" {
		t.Errorf("working directory %q", cwd)
	}
	for name, word := range map[string]string{"no-shell": "interpreter", "text": "#!", "missing": "no such file"} {
		if _, err := Run(t.Context(), filepath.Join(dir, name), SlowAfter, never); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", name, err)
		}
	}
	pid, _ := os.ReadFile(filepath.Join(dir, "background.out"))
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err != nil {
		t.Errorf("a background process of a script does not run: %v", err)
	}
	if p := strings.TrimSpace(string(pid)); p != "" {
		_, _ = Run(t.Context(), filepath.Join(folder(t, map[string]string{"k": "#!/bin/sh\nkill " + p + "\n"}), "k"), SlowAfter, never)
	}
}

// A script that hangs is killed with its children when the context ends.
func TestRunEndsWithItsContext(t *testing.T) {
	path := filepath.Join(folder(t, map[string]string{"x": "#!/bin/sh\ntrap '' TERM\nmkfifo \"$0.fifo\"\nsleep 1000000\n"}), "x")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var slow atomic.Int32
	if _, err := Run(ctx, path, 10*time.Millisecond, func() { slow.Add(1); cancel() }); !errors.Is(err, ErrInterrupted) || slow.Load() != 1 {
		t.Errorf("reported as slow %d times, want 1; error %v", slow.Load(), err)
	}
	if _, err := Run(ctx, path, SlowAfter, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("started with a context that has ended: %v", err)
	}
}
