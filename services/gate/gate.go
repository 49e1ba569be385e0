package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"keelson/services/control"
)

// Limits of requests.
const (
	headerLimit  = 16 << 10         // largest header, in bytes
	headerTime   = 10 * time.Second // longest time to receive a header
	idleTime     = time.Minute      // how long a connection may wait for its next request
	bodyTime     = time.Minute      // how long a client that sends a body may send nothing
	writeTime    = 30 * time.Second // how long a client may take for a part of a response
	requestLimit = 48               // at the same time; less than the supervisor takes from one process
	personLimit  = 24               // of these, of one client
	endTime      = 5 * time.Second  // how long requests may take when the gate ends
)

// Gate passes requests of clients on to the supervisor.
type Gate struct {
	Credentials *Credentials
	Socket      string       // of the supervisor, for the gate
	Logger      *slog.Logger // gets a line for each change that a client asks for, and each refusal
}

// Serve serves the connections of the listeners until ctx ends, and closes the listeners. It
// returns the error of the first listener that fails, and serves no other then.
func (g *Gate) Serve(ctx context.Context, listeners ...net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := newAdmission(g.Credentials.ServerConfig(), g.Logger)
	proxy := newProxy(g)
	defer proxy.close()
	server := &http.Server{
		Handler:           proxy,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerLimit,
		ErrorLog:          slog.NewLogLogger(g.Logger.Handler(), slog.LevelDebug), // Mistakes of clients.
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	var group sync.WaitGroup
	failed := make(chan error, len(listeners)+1)
	for _, l := range listeners {
		group.Go(func() {
			if err := a.take(ctx, l); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	group.Go(func() {
		if err := server.Serve(a); ctx.Err() == nil && !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("cannot serve clients: %w", err)
			cancel()
		}
	})
	<-ctx.Done()
	for _, l := range listeners {
		_ = l.Close()
	}
	_ = a.Close()
	last, done := context.WithTimeout(context.Background(), endTime)
	defer done()
	if server.Shutdown(last) != nil {
		_ = server.Close()
	}
	group.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// connectionProblem is the answer to a client with too many connections.
var connectionProblem = []byte(`{"title":"Service Unavailable","status":503,"detail":"the gate has too many connections, or too many of this client"}` + "\n")

// places bounds the requests that are carried out at the same time.
type places struct {
	mu      sync.Mutex
	all     int
	persons map[string]int
}

func (p *places) enter(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= requestLimit || p.persons[name] >= personLimit {
		return false
	}
	p.all++
	p.persons[name]++
	return true
}

func (p *places) leave(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.persons[name]--; p.persons[name] == 0 {
		delete(p.persons, name)
	}
}

// fail answers with a problem document, and ends the connection, whose body is not read.
func fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Connection", "close")
	control.Fail(w, status, err)
}

// timed is a response whose parts have to be received in time.
type timed struct {
	http.ResponseWriter
	status int
	body   *patient // of the request; nil: there is none
}

// Unwrap is for http.ResponseController.
func (t *timed) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (t *timed) WriteHeader(status int) {
	if t.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *timed) Write(p []byte) (int, error) {
	_ = http.NewResponseController(t.ResponseWriter).SetWriteDeadline(time.Now().Add(writeTime))
	return t.ResponseWriter.Write(p)
}

// patient is a body whose client may pause.
type patient struct {
	body   io.ReadCloser
	c      *http.ResponseController
	failed atomic.Pointer[error] // why the body could not be read
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.c.SetReadDeadline(time.Now().Add(bodyTime))
	n, err := p.body.Read(b)
	switch {
	case errors.Is(err, io.EOF):
		_ = p.c.SetReadDeadline(time.Time{}) // From here the server only waits for the end of the connection.
	case err != nil:
		p.failed.Store(&err)
	}
	return n, err
}

func (p *patient) Close() error { return p.body.Close() }
