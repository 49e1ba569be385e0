package containerd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"keelson/testvm/nstest"
)

func TestWaitForSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "containerd", "c.sock")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- waitForSocket(ctx, path) }()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0o660); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestWaitForSocketEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := waitForSocket(ctx, filepath.Join(t.TempDir(), "no.sock")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestWaitForSocketWithoutInotify(t *testing.T) {
	nstest.WithoutInotify(t, "TestWaitForSocket", "TestWaitForSocketEndsWithItsContext")
}
