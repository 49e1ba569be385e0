package containerd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// socketPath keeps below the 108 bytes of a socket's name.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "containerd", "containerd.sock")
}

// The way containerd comes up: directory, bind, listen, chmod.
func TestReadyWaitsForTheSocket(t *testing.T) {
	path := socketPath(t)
	c, err := New(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan error, 1)
	go func() { done <- c.Ready(t.Context()) }()
	for _, step := range []func() error{
		func() error { return os.MkdirAll(filepath.Dir(path), 0o700) },
		func() error { return os.WriteFile(path, nil, 0o600) }, // something stale
		func() error { return os.Remove(path) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			t.Fatalf("ready too early: %v", err)
		case <-time.After(30 * time.Millisecond):
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0o660); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Ready did not notice the socket")
	}
}

func TestReadyEndsWithItsContext(t *testing.T) {
	c, err := New(socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ready: %v, want the deadline", err)
	}
}

func TestCallsWithoutContainerdFail(t *testing.T) {
	c, err := New(socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Start(t.Context(), ID{"ns", "a"}); !errors.Is(err, ErrGone) {
		t.Errorf("Start: %v, want ErrGone", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.List(ctx, "ns"); err == nil {
		t.Error("List without containerd succeeded")
	}
}
