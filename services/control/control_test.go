package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
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
	go func() { done <- (&Server{Handler: h}).Serve(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	waitForSocket(socket)
	return socket
}

func waitForSocket(socket string) {
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// Each request arrives as it was sent.
func TestCall(t *testing.T) {
	tests := []Request{
		{Verb: List},
		{Verb: List, Names: []string{"a", "b"}},
		{Verb: Start, Names: []string{"a"}},
		{Verb: Stop, Names: []string{"a", "b"}},
		{Verb: Restart, Names: []string{"ü &?/=", "b"}},
		{Verb: PowerOff}, {Verb: Reboot}, {Verb: Halt},
		{Verb: Diff},
		{Verb: Kill, Names: []string{"a"}, Signal: "HUP"},
		{Verb: Swap, Names: []string{"a"}, Force: true},
		{Verb: Swap, Names: []string{"x &?=%"}, Plan: true},
		{Verb: Rollback, Names: []string{"a"}, Plan: true},
		{Verb: Remove, Names: []string{"a"}},
		{Verb: Swap, Programs: true, Force: true, Probation: 5 * time.Second},
		{Verb: Rollback, Programs: true, Probation: 1500 * time.Millisecond},
	}
	for _, want := range tests {
		var got Request
		socket := serve(t, func(_ context.Context, r Request) Response {
			got = r
			return Response{}
		})
		if r, err := Unix(socket).Call(t.Context(), want); err != nil || r.Error != "" || r.Code != CodeOK {
			t.Errorf("%+v: %+v, %v", want, r, err)
		}
		if strings.Join(got.Names, ",") != strings.Join(want.Names, ",") || got.Verb != want.Verb || got.Force != want.Force ||
			got.Plan != want.Plan || got.Programs != want.Programs || got.Signal != want.Signal || got.Probation != want.Probation {
			t.Errorf("%+v arrives as %+v", want, got)
		}
	}
}

// Each kind of result arrives as it was returned.
func TestResponses(t *testing.T) {
	since := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	running, stopped := Service{Name: "a", State: Running, PID: 7, Since: since}, Service{Name: "b", State: "stopped"}
	tests := []struct {
		name    string
		request Request
		answer  Response
		code    int
	}{
		{"all services", Request{Verb: List}, Response{Services: []Service{running, stopped}}, CodeOK},
		{"services that run", Request{Verb: List, Names: []string{"a"}}, Response{Services: []Service{running}}, CodeOK},
		{"one does not run", Request{Verb: List, Names: []string{"a", "b"}}, Response{Services: []Service{running, stopped}}, CodeNotRunning},
		{"one does not exist", Request{Verb: List, Names: []string{"c"}}, Response{Error: "no such service: c", Code: CodeNotFound}, CodeNotFound},
		{"an order fails", Request{Verb: Start, Names: []string{"a"}}, Response{Error: "a: exited 1", Code: CodeFailed}, CodeFailed},
		{"an order is wrong", Request{Verb: Start, Names: []string{"a"}}, Response{Error: "cannot", Code: CodeUsage}, CodeUsage},
		{"differences", Request{Verb: Diff}, Response{Changes: []Difference{{Name: "a", Change: "swapped"}}}, CodeOK},
		{"some differences", Request{Verb: Diff}, Response{Changes: []Difference{{Name: "a"}}, Error: "b: bad", Code: CodeFailed}, CodeFailed},
		{"a plan", Request{Verb: Rollback, Names: []string{"a"}, Plan: true}, Response{Plan: []string{"x", "y"}}, CodeOK},
		{"a plan that is refused", Request{Verb: Rollback, Names: []string{"a"}, Plan: true},
			Response{Plan: []string{"x"}, Error: "denied", Code: CodeFailed}, CodeFailed},
	}
	for _, tt := range tests {
		socket := serve(t, func(context.Context, Request) Response { return tt.answer })
		got, err := Unix(socket).Call(t.Context(), tt.request)
		if err != nil || got.Code != tt.code || got.Error != tt.answer.Error || len(got.Services) != len(tt.answer.Services) ||
			len(got.Changes) != len(tt.answer.Changes) || strings.Join(got.Plan, ",") != strings.Join(tt.answer.Plan, ",") {
			t.Errorf("%s: got %+v, %v, want %+v", tt.name, got, err, tt.answer)
			continue
		}
		for i, s := range got.Services {
			if want := tt.answer.Services[i]; s.Name != want.Name || s.State != want.State || s.PID != want.PID || !s.Since.Equal(want.Since) {
				t.Errorf("%s: got %+v, want %+v", tt.name, s, want)
			}
		}
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
	if _, err := Unix(socket).Call(ctx, Request{Verb: Restart, Names: []string{"a"}}); !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled call: %v", err)
	}
	<-left
}

func TestNoSupervisor(t *testing.T) {
	_, err := Unix(filepath.Join(t.TempDir(), "none")).Call(t.Context(), Request{Verb: List})
	if op := (*net.OpError)(nil); !errors.As(err, &op) || !strings.Contains(err.Error(), "cannot reach the supervisor at ") {
		t.Fatalf("got %v", err)
	}
}

// The supervisor is killed while it carries out a request.
func TestServerEnds(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		}
	}()
	for _, verb := range []string{Restart, Swap} {
		_, err := Unix(socket).Call(t.Context(), Request{Verb: verb, Names: []string{"a"}, Body: strings.NewReader("artifact")})
		if err == nil || !strings.Contains(err.Error(), "the supervisor ended without an answer") {
			t.Errorf("%s: got %v", verb, err)
		}
	}
}

// get sends a request as another program would, and returns status, type and body.
func do(t *testing.T, socket, method, path string, header http.Header, body string) (status int, media, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	client := http.Client{Transport: transport(socket)}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer.StatusCode, answer.Header.Get("Content-Type"), string(all)
}
