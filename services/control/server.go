package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a request.
const (
	headerLimit  = 16 << 10         // largest header, in bytes
	requestLimit = 64 << 10         // largest body, except for artifacts, in bytes
	requestTime  = 5 * time.Second  // longest time to receive a header or a body
	bodyTime     = time.Minute      // how long a client that sends an artifact may send nothing
	idleTime     = 30 * time.Second // how long a connection may wait for its next request
)

// Server serves the control API.
type Server struct {
	Handler Handler
	More    []Route      // of other packages
	Logger  *slog.Logger // nil: the default
}

// Serve listens on socket until ctx ends. It returns when all requests have been
// answered. The socket of an earlier process is replaced.
func (s *Server) Serve(ctx context.Context, socket string) error {
	return s.serve(ctx, socket, false)
}

// ServeGate does the same for the gate, at a socket in a folder of PrepareGate. It carries out
// what the roles of the gate's clients permit.
func (s *Server) ServeGate(ctx context.Context, socket string) error {
	return s.serve(ctx, socket, true)
}

// PrepareGate makes the folder of the socket for the gate. The gate may enter it, and change
// nothing there.
func PrepareGate(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = giveToGate(dir, 0o710)
	}
	if err != nil {
		return fmt.Errorf("cannot make the folder of the gate's socket: %w", err)
	}
	return nil
}

// giveToGate sets the gate's group, and the mode, of a file. A user who may not change groups
// keeps the file: the gate has to be that user.
func giveToGate(path string, mode os.FileMode) error {
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 0, GateUser); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: the user namespace has no such group.
			return err
		}
	}
	return os.Chmod(path, mode)
}

func (s *Server) serve(ctx context.Context, socket string, gate bool) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot replace control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("cannot listen for control: %w", err)
	}
	defer l.Close()
	if err = os.Chmod(socket, 0o600); err == nil && gate {
		err = giveToGate(socket, 0o660)
	}
	if err != nil {
		return fmt.Errorf("cannot set owner and mode of control socket: %w", err)
	}
	logger := s.Logger
	if logger == nil {
		logger = slog.Default()
	}
	server := &http.Server{
		Handler:           s.mux(),
		ReadHeaderTimeout: requestTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerLimit,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelError),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	unused := &silent{conns: map[net.Conn]bool{}}
	server.ConnState = unused.follow
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		unused.end()
		shutDown(server)
	})
	err = server.Serve(newAdmission(ctx, l, gate))
	if !stop() {
		<-ended
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot accept control connections: %w", err)
	}
	return nil
}

// silent has the connections on which no request has begun. Server.Shutdown would wait 5 s
// for each, and a machine that powers off with it.
type silent struct {
	mu    sync.Mutex
	ended bool
	conns map[net.Conn]bool
}

// follow is the hook of http.Server.ConnState.
func (s *silent) follow(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(s.conns, c)
	case s.ended:
		_ = c.Close()
	default:
		s.conns[c] = true
	}
}

// end closes these connections, and those to come.
func (s *silent) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for c := range s.conns {
		_ = c.Close()
	}
}

// shutDown waits until the requests have been answered. A client that does not read its
// response does not delay it for long.
func shutDown(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*requestTime)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
}

// connKey is the key of the connection in the context of a request.
type connKey struct{}
