// Package control is the protocol between the supervisor and its clients. A connection to
// a Unix stream socket carries one JSON request and one JSON response. The mode of the
// socket is 0600, so only root may connect, in the system or in a container that has the
// socket.
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
	"keelson/runtime/paths"
)

// SocketPath is where the supervisor listens.
const SocketPath = paths.State + "/service.sock"

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

const (
	requestLimit = 64 << 10               // largest request, in bytes
	requestTime  = 5 * time.Second        // longest time to receive a request or send a response
	acceptDelay  = 100 * time.Millisecond // after a failure for lack of file descriptors or memory
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
	Status   string    `json:"status,omitempty"` // what it reports, or waits for
}

// Request requests Verb for the services in Names. List without names lists all.
type Request struct {
	Verb  string   `json:"verb"`
	Names []string `json:"names,omitempty"`
}

// Response is the result of a request. Code is an exit status for the command line.
type Response struct {
	Services []Service `json:"services,omitempty"`
	Error    string    `json:"error,omitempty"`
	Code     int       `json:"code"`
}

// Handler answers requests. It is called from several goroutines.
type Handler interface {
	Control(ctx context.Context, r Request) Response
}

// Serve listens on socket until ctx ends. It returns when all requests have been
// answered. The socket of an earlier process is replaced.
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
		return fmt.Errorf("cannot set mode of control socket: %w", err)
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
			// A temporary failure, whose end causes no event.
			if !backoff.Wait(ctx, acceptDelay) {
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

// answer answers one request. The context of the handler ends when the client closes the
// connection.
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
		_ = json.NewEncoder(conn).Encode(r) // The client may have closed the connection.
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
		return Response{}, fmt.Errorf("cannot send a request to the supervisor: %w", err)
	}
	var response Response
	if err := json.NewDecoder(conn).Decode(&response); err != nil {
		return Response{}, fmt.Errorf("the supervisor ended without an answer: %w", err)
	}
	return response, nil
}
