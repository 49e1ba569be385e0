package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// Limits of a request.
const (
	headerLimit  = 16 << 10         // largest header, in bytes
	requestLimit = 64 << 10         // largest body, except for artifacts, in bytes
	requestTime  = 5 * time.Second  // longest time to receive a header or a body, or to send a part of a response
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
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot replace control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("cannot listen for control: %w", err)
	}
	defer l.Close()
	if err := os.Chmod(socket, 0o600); err != nil {
		return fmt.Errorf("cannot set mode of control socket: %w", err)
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
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		shutDown(server)
	})
	err = server.Serve(newAdmission(ctx, l))
	if !stop() {
		<-ended
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot accept control connections: %w", err)
	}
	return nil
}

// shutDown waits until the requests have been answered. A client that does not read its
// response, or has not sent its request, does not delay it for long.
func shutDown(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*requestTime)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
}

// connKey is the key of the connection in the context of a request.
type connKey struct{}

// peerOf describes the process that sent a request.
func peerOf(r *http.Request) string {
	if c, ok := r.Context().Value(connKey{}).(*admitted); ok {
		return c.peer.String()
	}
	return ""
}
