package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// A body of any size arrives whole, the handler's progress arrives in order, and the
// handler is told who sends.
func TestBody(t *testing.T) {
	for _, size := range []int{0, 1, 100, 3 << 20} {
		sent := bytes.Repeat([]byte("\n0123456789"), size/11+1)[:size]
		socket := serve(t, func(_ context.Context, r Request) Response {
			r.Progress("begins")
			got, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(got, sent) {
				return Response{Error: fmt.Sprintf("%d bytes of %d: %v", len(got), size, err)}
			}
			r.Progress("was read")
			if want := fmt.Sprintf("user %d, process %d", os.Getuid(), os.Getpid()); !strings.HasPrefix(r.Peer, want) {
				return Response{Error: fmt.Sprintf("the peer is %q, want %q", r.Peer, want)}
			}
			return Response{Code: 7}
		})
		var progress []string
		r, err := CallWith(t.Context(), socket, Request{Verb: Swap, Names: []string{"a"}}, bytes.NewReader(sent),
			func(text string) { progress = append(progress, text) })
		if err != nil || r.Error != "" || r.Code != 7 || strings.Join(progress, ", ") != "begins, was read" {
			t.Errorf("%d bytes: %+v, %q, %v", size, r, progress, err)
		}
	}
}

// A handler may answer before it has read the body.
func TestBodyRefused(t *testing.T) {
	socket := serve(t, func(context.Context, Request) Response { return Response{Error: "no such service: a"} })
	endless, end := io.Pipe()
	defer end.Close()
	r, err := CallWith(t.Context(), socket, Request{Verb: Swap}, endless, nil)
	if err != nil || r.Error != "no such service: a" {
		t.Errorf("got %+v, %v", r, err)
	}
}

// The source of a body fails: the caller is told why, whatever the handler makes of what
// it has read.
func TestBodyFails(t *testing.T) {
	socket := serve(t, func(_ context.Context, r Request) Response {
		_, _ = io.Copy(io.Discard, r.Body)
		return Response{Error: "not whole"}
	})
	why := errors.New("disk on fire")
	body := io.MultiReader(strings.NewReader("part"), iotest.ErrReader(why))
	if r, err := CallWith(t.Context(), socket, Request{Verb: Swap}, body, nil); !errors.Is(err, why) && r.Error == "" {
		t.Errorf("got %+v, %v", r, err)
	}
}

// The end of the server ends the read of a body whose client pauses.
func TestBodyEndsWithServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	socket := t.TempDir() + "/s"
	reading, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- Serve(ctx, socket, handler(func(_ context.Context, r Request) Response {
			var b [1]byte
			_, _ = r.Body.Read(b[:])
			close(reading)
			_, err := r.Body.Read(b[:])
			return Response{Error: fmt.Sprint(err)}
		}))
	}()
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			break
		}
	}
	source, end := io.Pipe()
	defer end.Close()
	go func() {
		_, _ = CallWith(t.Context(), socket, Request{Verb: Swap}, io.MultiReader(strings.NewReader("x"), source), nil)
	}()
	<-reading
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
