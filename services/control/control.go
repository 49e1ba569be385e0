// Package control is the protocol between the supervisor and who asks it: one
// JSON request on a unix stream socket, one JSON response, then the end. The
// socket's mode is 0600, so asking takes root or a container given the socket.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/backoff"
)

// SocketPath is where the supervisor listens.
const SocketPath = "/run/keelson/service.sock"

// Exit statuses of the command line, after systemctl(1) and the LSB.
const (
	CodeOK         = 0
	CodeFailed     = 1
	CodeUsage      = 2
	CodeNotRunning = 3
	CodeNotFound   = 4
)

// Verbs of a Request.
const (
	List     = "list"
	Start    = "start"
	Stop     = "stop"
	Restart  = "restart"
	PowerOff = "poweroff"
	Reboot   = "reboot"
	Halt     = "halt"
)

// requestLimit bounds what is read of a request, and requestTime for how long
// one may take to arrive.
const (
	requestLimit = 64 << 10
	requestTime  = 5 * time.Second
	acceptPause  = 100 * time.Millisecond // when there is no descriptor to be had
)

// Service is the state of one service.
type Service struct {
	Name     string    `json:"name"`
	State    string    `json:"state"`
	PID      int       `json:"pid,omitempty"`
	Since    time.Time `json:"since,omitzero"` // when it entered State
	Restarts int       `json:"restarts"`
	LastExit string    `json:"lastExit,omitempty"`
	Error    string    `json:"error,omitempty"`
	Status   string    `json:"status,omitempty"` // what it says of itself, or waits for
}

// Request asks for Verb on the services named; List with no name means all.
type Request struct {
	Verb  string   `json:"verb"`
	Names []string `json:"names,omitempty"`
}

// Response is what came of it. Code is an exit status for the command line.
type Response struct {
	Services []Service `json:"services,omitempty"`
	Error    string    `json:"error,omitempty"`
	Code     int       `json:"code"`
}

// Handler answers requests; it is called from many goroutines.
type Handler interface {
	Control(ctx context.Context, r Request) Response
}

// Serve listens on socket and answers until ctx ends and all that was asked
// has been answered. A socket left by an earlier process is replaced.
func Serve(ctx context.Context, socket string, h Handler) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot replace control socket: %w", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("cannot listen for control: %w", err)
	}
	defer l.Close()
	if err := os.Chmod(socket, 0o600); err != nil {
		return fmt.Errorf("cannot guard control socket: %w", err)
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var answering sync.WaitGroup
	defer answering.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ECONNABORTED) {
			// It passes, and nothing tells when.
			if !backoff.Wait(ctx, acceptPause) {
				return nil
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot accept control connection: %w", err)
		}
		answering.Go(func() { answer(ctx, conn, h) })
	}
}

// answer ends early when the other side hangs up: nobody waits for the result.
func answer(ctx context.Context, conn net.Conn, h Handler) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var request Request
	if err := conn.SetReadDeadline(time.Now().Add(requestTime)); err != nil {
		return
	}
	if err := json.NewDecoder(io.LimitReader(conn, requestLimit)).Decode(&request); err != nil {
		send(conn, Response{Error: fmt.Sprintf("cannot read request: %v", err), Code: CodeUsage})
		return
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return
	}
	go func() {
		defer cancel()
		_, _ = conn.Read(make([]byte, 1)) // Returns when either side closes.
	}()
	send(conn, h.Control(ctx, request))
}

func send(conn net.Conn, r Response) {
	if err := conn.SetWriteDeadline(time.Now().Add(requestTime)); err == nil {
		_ = json.NewEncoder(conn).Encode(r) // Who asked may have gone.
	}
}

// Call sends one request and waits for its response.
func Call(ctx context.Context, socket string, r Request) (Response, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return Response{}, fmt.Errorf("cannot reach the supervisor at %s: %w", socket, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return Response{}, fmt.Errorf("cannot ask the supervisor: %w", err)
	}
	var response Response
	if err := json.NewDecoder(conn).Decode(&response); err != nil {
		return Response{}, fmt.Errorf("the supervisor went away before it answered: %w", err)
	}
	return response, nil
}
