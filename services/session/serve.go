package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/corecgroup"
	"keelson/runtime/oomscore"
)

// Limits of a session.
const (
	requestLimit = 64 << 10         // largest request, in bytes
	headerTime   = 5 * time.Second  // to read a request that is there
	writeTime    = 10 * time.Minute // how long a client may take nothing
)

// connection is the descriptor of the socket.
const connection = 3

// Caller describes who has sent the request that this process serves.
func Caller() string { return os.Getenv(callerKey) }

// Serve serves the request that this process was started for. It returns when the connection has
// ended, and, if the handler has taken it over, when it is closed. The context of the request ends when
// the client closes the connection, in the latter case too.
func Serve(ctx context.Context, handler http.Handler) error {
	if err := oomscore.SetOwn(oomscore.Ordinary); err != nil { // It inherits the supervisor's.
		return err
	}
	if err := corecgroup.Leave(); err != nil {
		return err
	}
	unix.CloseOnExec(connection)
	request, err := io.ReadAll(io.LimitReader(os.Stdin, requestLimit))
	if err != nil {
		return fmt.Errorf("cannot read the request: %w", err)
	}
	socket := os.NewFile(connection, "connection")
	conn, err := net.FileConn(socket)
	if err = errors.Join(err, socket.Close()); err != nil {
		return fmt.Errorf("cannot use the connection: %w", err)
	}
	return serveConn(ctx, conn, request, handler)
}

// serveConn serves one request, which has been read from a connection.
func serveConn(ctx context.Context, conn net.Conn, request []byte, handler http.Handler) error {
	one := &single{conn: &replayed{Conn: conn, first: bytes.NewReader(request)}, closed: make(chan struct{})}
	one.conn.onClose = sync.OnceFunc(func() { close(one.closed) })
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		if waitForHangUp(conn) {
			cancel()
		}
	}()
	var answering sync.WaitGroup
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answering.Add(1)
		defer answering.Done()
		handler.ServeHTTP(w, r)
	})
	server := &http.Server{
		Handler: counted, ReadHeaderTimeout: headerTime, MaxHeaderBytes: requestLimit,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	server.SetKeepAlivesEnabled(false)
	defer answering.Wait() // A handler may have something to end after its client has gone.
	if err := server.Serve(one); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// waitForHangUp waits until the other end of a connection is closed, also while nobody reads what
// has arrived. It returns false if that cannot be known.
func waitForHangUp(conn net.Conn) bool {
	f, ok := conn.(filer)
	if !ok {
		return false
	}
	socket, err := f.File() // A descriptor that stays open.
	if err != nil {
		return false
	}
	defer socket.Close()
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	hungUp := false
	_ = raw.Control(func(fd uintptr) {
		for {
			fds := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP and POLLERR need no request.
			if _, err := unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
				hungUp = err == nil
				return
			}
		}
	})
	return hungUp
}

// single is a listener with one connection.
type single struct {
	conn   *replayed
	taken  bool
	closed chan struct{} // when the connection is
}

func (l *single) Accept() (net.Conn, error) {
	if !l.taken {
		l.taken = true
		return l.conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *single) Close() error   { return nil }
func (l *single) Addr() net.Addr { return l.conn.LocalAddr() }

// replayed is a connection of which a part has been read.
type replayed struct {
	net.Conn
	first   *bytes.Reader
	onClose func()
}

func (c *replayed) Read(p []byte) (int, error) {
	if c.first.Len() > 0 {
		return c.first.Read(p)
	}
	return c.Conn.Read(p)
}

func (c *replayed) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close ends the connection, of which the supervisor has another descriptor until this process has
// ended.
func (c *replayed) Close() error {
	defer c.onClose()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // The client may have closed it.
	}
	return c.Conn.Close()
}
