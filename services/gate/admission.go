package gate

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"keelson/runtime/backoff"
)

// Limits of connections.
const (
	handshakeTime    = 10 * time.Second // longest time for a handshake
	handshakeLimit   = 64               // at the same time; the oldest gives way to a new one
	connectionLimit  = 128              // of clients that have proved who they are
	clientLimit      = 32               // of these, of one client
	acceptDelay      = 100 * time.Millisecond
	failuresInterval = time.Second // at most one line about failed handshakes in this time
)

// admission takes connections from listeners and is a listener of those whose client has proved
// who it is. A connection of which that is not known yet costs a handshake and a bounded time.
type admission struct {
	config *tls.Config
	logger *slog.Logger

	ready chan *tls.Conn
	ended chan struct{}
	end   func()

	mu         sync.Mutex
	handshakes list.List // of net.Conn, the oldest first
	all        int
	clients    map[string]int // connections by the name of the client
	quiet      int            // failures that were not logged
	logged     time.Time
}

func newAdmission(config *tls.Config, logger *slog.Logger) *admission {
	a := &admission{config: config, logger: logger, ready: make(chan *tls.Conn), ended: make(chan struct{}), clients: map[string]int{}}
	a.end = sync.OnceFunc(func() { close(a.ended) })
	return a
}

// Accept returns a connection of a client that has proved who it is.
func (a *admission) Accept() (net.Conn, error) {
	select {
	case conn := <-a.ready:
		return conn, nil
	case <-a.ended:
		return nil, net.ErrClosed
	}
}

// Close ends Accept, and the handshakes that are under way.
func (a *admission) Close() error {
	a.end()
	a.mu.Lock()
	defer a.mu.Unlock()
	for e := a.handshakes.Front(); e != nil; e = e.Next() {
		_ = e.Value.(net.Conn).Close()
	}
	return nil
}

// Addr returns no particular address: there may be several listeners.
func (a *admission) Addr() net.Addr { return &net.UnixAddr{Name: "gate", Net: "unix"} }

// take accepts the connections of a listener until it is closed.
func (a *admission) take(ctx context.Context, l net.Listener) error {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			place := a.begin(conn) // In the order in which they come.
			group.Go(func() { a.admit(ctx, conn, place) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("cannot accept connections at %s: %w", l.Addr(), err)
		case !backoff.Wait(ctx, acceptDelay): // For lack of descriptors or memory, whose end causes no event.
			return nil
		}
	}
}

// admit carries out a handshake.
func (a *admission) admit(ctx context.Context, conn net.Conn, place *list.Element) {
	secured := &secured{Conn: conn}
	c := tls.Server(secured, a.config)
	limited, cancel := context.WithTimeout(ctx, handshakeTime)
	err := c.HandshakeContext(limited)
	cancel()
	a.finish(place)
	if err != nil {
		_ = conn.Close()
		a.failed(conn.RemoteAddr(), err)
		return
	}
	name := c.ConnectionState().PeerCertificates[0].Subject.CommonName
	if !a.enter(name) {
		refuse(c, connectionProblem)
		return
	}
	secured.leave = sync.OnceFunc(func() { a.leave(name) })
	select {
	case a.ready <- c:
	case <-a.ended:
		_ = c.Close()
	}
}

// begin remembers a handshake. When there are too many, the oldest ends: one that does not want
// to end is older than one that does.
func (a *admission) begin(conn net.Conn) *list.Element {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.handshakes.Len() >= handshakeLimit {
		oldest := a.handshakes.Front()
		_ = oldest.Value.(net.Conn).Close()
		a.handshakes.Remove(oldest)
	}
	return a.handshakes.PushBack(conn)
}

func (a *admission) finish(place *list.Element) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handshakes.Remove(place) // Does nothing if it is not in the list any more.
}

func (a *admission) enter(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all >= connectionLimit || a.clients[name] >= clientLimit {
		return false
	}
	a.all++
	a.clients[name]++
	return true
}

func (a *admission) leave(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	if a.clients[name]--; a.clients[name] == 0 {
		delete(a.clients, name)
	}
}

// failed logs that a handshake has failed, unless it has just logged another.
func (a *admission) failed(from net.Addr, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if now.Sub(a.logged) < failuresInterval {
		a.quiet++
		return
	}
	a.logger.Warn("a connection was refused", "from", from, "error", err, "more", a.quiet)
	a.logged, a.quiet = now, 0
}

// secured is the connection below TLS. Its end makes room for another one of the client.
type secured struct {
	net.Conn
	leave func()
}

// Close is called once the handshake has ended, or by the connection above.
func (s *secured) Close() error {
	if s.leave != nil {
		defer s.leave()
	}
	return s.Conn.Close()
}

// refuse answers a client that has too many connections, without waiting for a request.
func refuse(c *tls.Conn, p []byte) {
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(acceptDelay))
	_, _ = fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(p), p)
}
