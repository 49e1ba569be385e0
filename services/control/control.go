// Package control is the protocol between the supervisor and its clients. A connection to
// a Unix stream socket carries one JSON request in a line, and JSON responses in lines: any
// number with Progress, and a last one without. The request to swap a service is followed
// by the artifact, until the client shuts down its side of the connection. The mode of the
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
	Swap     = "swap"     // replace a service by the artifact that follows the request
	Rollback = "rollback" // replace a service by its previous version
	Remove   = "remove"   // stop a service, and forget it or mask that of the image
	Diff     = "diff"     // list what differs from the image
)

// Programs stands for keelson's own programs where a service has its name. No service can
// have it.
const Programs = "-programs"

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
	Status   string    `json:"status,omitempty"`  // what it reports, or waits for
	Version  string    `json:"version,omitempty"` // digest of what replaces the bundle of the image
	Sockets  []string  `json:"sockets,omitempty"` // that are kept for it
}

// Request requests Verb for the services in Names. List without names lists all.
type Request struct {
	Verb  string   `json:"verb"`
	Names []string `json:"names,omitempty"`
	Force bool     `json:"force,omitempty"` // Swap: also a version that was rejected
	Plan  bool     `json:"plan,omitempty"`  // Swap, Rollback, Remove: only say what would change

	Programs  bool          `json:"programs,omitempty"`  // Swap, Rollback: keelson's own programs; Names is empty
	Probation time.Duration `json:"probation,omitempty"` // of Programs; 0: the default

	// These are set by Serve.
	Peer     string            `json:"-"` // the process that sent the request, for people
	Body     io.Reader         `json:"-"` // what follows the request of Swap; nil for other verbs
	Progress func(text string) `json:"-"` // sends a response with Progress
}

// Response is the result of a request. Code is an exit status for the command line.
type Response struct {
	Services []Service    `json:"services,omitempty"`
	Changes  []Difference `json:"changes,omitempty"` // Diff
	Plan     []string     `json:"plan,omitempty"`
	Progress string       `json:"progress,omitempty"`
	Error    string       `json:"error,omitempty"`
	Code     int          `json:"code"`
}

// Difference is a service that differs from the image.
type Difference struct {
	Name     string    `json:"name"`
	Change   string    `json:"change"`             // swapped, added, removed or reverted
	Version  string    `json:"version,omitempty"`  // digest of what runs
	Image    string    `json:"image,omitempty"`    // name of the container image of Version, if that is one
	Previous string    `json:"previous,omitempty"` // what Rollback would bring: a digest, image or removed
	Since    time.Time `json:"since,omitzero"`
	By       string    `json:"by,omitempty"`
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
// connection; a client that sends a body may close its side.
func answer(ctx context.Context, conn net.Conn, h Handler) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })() // Ends the read of a body.
	var request Request
	if err := conn.SetReadDeadline(time.Now().Add(requestTime)); err != nil {
		return
	}
	decoder := json.NewDecoder(io.LimitReader(conn, requestLimit))
	if err := decoder.Decode(&request); err != nil {
		send(conn, Response{Error: fmt.Sprintf("cannot read request: %v", err), Code: CodeUsage})
		return
	}
	request.Peer = peer(conn)
	request.Progress = func(text string) { send(conn, Response{Progress: text}) }
	if request.Verb == Swap {
		request.Body = body(ctx, decoder, conn)
	} else {
		if err := conn.SetReadDeadline(time.Time{}); err != nil {
			return
		}
		go func() {
			defer cancel()
			_, _ = conn.Read(make([]byte, 1)) // Returns when either side closes.
		}()
	}
	send(conn, h.Control(ctx, request))
}

func send(conn net.Conn, r Response) {
	if err := conn.SetWriteDeadline(time.Now().Add(requestTime)); err == nil {
		_ = json.NewEncoder(conn).Encode(r) // The client may have closed the connection.
	}
}

// Call sends one request and waits for its response.
func Call(ctx context.Context, socket string, r Request) (Response, error) {
	return CallWith(ctx, socket, r, nil, nil)
}
