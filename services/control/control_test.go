package control

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type handler func(context.Context, Request) Response

func (h handler) Control(ctx context.Context, r Request) Response { return h(ctx, r) }

func serve(t *testing.T, h handler) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, socket, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			return socket
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCall(t *testing.T) {
	socket := serve(t, func(_ context.Context, r Request) Response {
		return Response{Services: []Service{{Name: strings.Join(r.Names, "+"), State: r.Verb}}, Code: CodeNotRunning}
	})
	r, err := Call(t.Context(), socket, Request{Verb: Stop, Names: []string{"a", "b"}})
	if err != nil || len(r.Services) != 1 || r.Services[0].Name != "a+b" || r.Services[0].State != Stop || r.Code != CodeNotRunning {
		t.Fatalf("got %+v, %v", r, err)
	}
}

func TestBadRequest(t *testing.T) {
	socket := serve(t, func(context.Context, Request) Response { return Response{} })
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("start redis\n")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 200)
	n, err := conn.Read(b)
	if err != nil || !strings.Contains(string(b[:n]), "cannot read request") {
		t.Fatalf("got %q, %v", b[:n], err)
	}
}

func TestContextEndsWithConnection(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	socket := serve(t, func(ctx context.Context, _ Request) Response {
		close(entered)
		<-ctx.Done()
		close(left)
		return Response{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if _, err := Call(ctx, socket, Request{Verb: List}); err == nil {
		t.Fatal("a cancelled call succeeded")
	}
	<-left
}

func TestNoSupervisor(t *testing.T) {
	_, err := Call(t.Context(), filepath.Join(t.TempDir(), "none"), Request{})
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Fatalf("got %v", err)
	}
}
