package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// A body of any size arrives whole, the handler's progress arrives in order and before
// the body has ended, and the handler is told who sends.
func TestBody(t *testing.T) {
	for _, size := range []int{0, 1, 100, 3 << 20} {
		sent := bytes.Repeat([]byte("\n0123456789"), size/11+1)[:size]
		begun := make(chan struct{})
		socket := serve(t, func(_ context.Context, r Request) Response {
			r.Progress("begins")
			got, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(got, sent) {
				return Response{Error: fmt.Sprintf("%d bytes of %d: %v", len(got), size, err)}
			}
			r.Progress("was\nread")
			if want := fmt.Sprintf("user %d, process %d", os.Getuid(), os.Getpid()); !strings.HasPrefix(r.Peer, want) {
				return Response{Error: fmt.Sprintf("the peer is %q, want %q", r.Peer, want)}
			}
			return Response{Plan: []string{"x"}}
		})
		var progress []string
		first := true
		r, err := Unix(socket).Call(t.Context(), Request{Verb: Swap, Names: []string{"a"},
			Body: io.MultiReader(bytes.NewReader(sent), waiting(begun)),
			Progress: func(text string) {
				if progress = append(progress, text); first {
					close(begun)
				}
				first = false
			}})
		if err != nil || r.Error != "" || strings.Join(r.Plan, ",") != "x" || strings.Join(progress, ", ") != "begins, was\nread" {
			t.Errorf("%d bytes: %+v, %q, %v", size, r, progress, err)
		}
	}
}

// waiting is a reader that ends when a channel is closed.
type waiting chan struct{}

func (w waiting) Read([]byte) (int, error) {
	<-w
	return 0, io.EOF
}

// A client that does not ask for events gets one answer, whose status is that of the result.
func TestChangeWithoutEvents(t *testing.T) {
	socket := serve(t, func(_ context.Context, r Request) Response {
		r.Progress("begins")
		if text, err := io.ReadAll(r.Body); err != nil || string(text) != "good" {
			return Response{Error: fmt.Sprintf("bad artifact %q: %v", text, err), Code: CodeFailed}
		}
		return Response{Plan: []string{"x"}}
	})
	if status, media, text := do(t, socket, "POST", "/v1/services/a/swap", nil, "good"); status != 200 || media != "application/json" || text != `{"plan":["x"]}`+"\n" {
		t.Errorf("got %d %s %s", status, media, text)
	}
	if status, media, text := do(t, socket, "POST", "/v1/services/a/swap", nil, "bad"); status != 409 || media != problemType || !strings.Contains(text, "bad artifact") {
		t.Errorf("got %d %s %s", status, media, text)
	}
	events := http.Header{"Accept": {"text/html, text/event-stream;q=0.9"}}
	if status, media, text := do(t, socket, "POST", "/v1/services/a/swap", events, "bad"); status != 200 || media != eventsType ||
		!strings.Contains(text, "event: progress\ndata: {\"text\":\"begins\"}\n\n") || !strings.Contains(text, "event: problem\ndata: {\"title\":\"Conflict\",\"status\":409,") {
		t.Errorf("got %d %s %s", status, media, text)
	}
}

// A handler may answer before it has read the body, and its answer arrives.
func TestBodyRefused(t *testing.T) {
	socket := serve(t, func(context.Context, Request) Response {
		return Response{Error: "no such service: a", Code: CodeNotFound}
	})
	endless, end := io.Pipe()
	defer end.Close()
	r, err := Unix(socket).Call(t.Context(), Request{Verb: Swap, Names: []string{"a"}, Body: endless})
	if err != nil || r.Error != "no such service: a" || r.Code != CodeNotFound {
		t.Errorf("got %+v, %v", r, err)
	}
}

// A handler may answer after it has read a part of the body.
func TestBodyRefusedLater(t *testing.T) {
	socket := serve(t, func(_ context.Context, r Request) Response {
		_, err := io.ReadFull(r.Body, make([]byte, 1<<20))
		return Response{Error: fmt.Sprintf("too large: %v", err), Code: CodeFailed}
	})
	r, err := Unix(socket).Call(t.Context(), Request{Verb: Swap, Names: []string{"a"}, Body: zeros{}})
	if err != nil || r.Error != "too large: <nil>" || r.Code != CodeFailed {
		t.Errorf("got %+v, %v", r, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// The source of a body fails: the caller is told why, whatever the handler makes of what
// it has read, and the handler does not take the part for the whole.
func TestBodyFails(t *testing.T) {
	read := make(chan error, 1)
	socket := serve(t, func(_ context.Context, r Request) Response {
		_, err := io.Copy(io.Discard, r.Body)
		read <- err
		return Response{Error: "not whole"}
	})
	why := errors.New("disk on fire")
	body := io.MultiReader(strings.NewReader("part"), iotest.ErrReader(why))
	if r, err := Unix(socket).Call(t.Context(), Request{Verb: Swap, Names: []string{"a"}, Body: body}); !errors.Is(err, why) {
		t.Errorf("got %+v, %v", r, err)
	}
	if err := <-read; err == nil {
		t.Error("the handler takes a part of the body for the whole")
	}
}

// The end of the server ends the read of a body whose client pauses.
func TestBodyEndsWithServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	socket := t.TempDir() + "/s"
	reading, ended := make(chan struct{}), make(chan error, 1)
	server := &Server{Handler: handler(func(_ context.Context, r Request) Response {
		var b [1]byte
		_, _ = r.Body.Read(b[:])
		close(reading)
		_, err := r.Body.Read(b[:])
		return Response{Error: fmt.Sprint(err)}
	})}
	go func() { ended <- server.Serve(ctx, socket) }()
	waitForSocket(socket)
	source, end := io.Pipe()
	defer end.Close()
	go func() {
		_, _ = Unix(socket).Call(t.Context(), Request{Verb: Swap, Names: []string{"a"}, Body: io.MultiReader(strings.NewReader("x"), source)})
	}()
	<-reading
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
