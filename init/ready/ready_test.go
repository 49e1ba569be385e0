package ready

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The folder of the announcement may be missing at first, as may those above it.
func TestWaitForAny(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "keelson", "state")
	paths := []string{filepath.Join(folder, ".ready"), filepath.Join(folder, ".degraded")}
	done := make(chan error, 1)
	go func() { done <- waitForAny(t.Context(), paths) }()
	for _, path := range []string{filepath.Join(folder, "web.json"), paths[1]} {
		select {
		case err := <-done:
			t.Fatalf("it returned before the announcement: %v", err)
		default:
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWaitForAnyEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := waitForAny(ctx, []string{filepath.Join(t.TempDir(), "none")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
