package serial

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/yamux"
)

// Session is a session at the client's end.
type Session struct{ mux *yamux.Session }

// Dial begins a session on a connection to a port, for example with the socket of QEMU's chardev,
// and waits until the server confirms it. It closes the connection if that fails.
func Dial(ctx context.Context, conn net.Conn) (*Session, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	reader, err := begin(conn)
	if !stop() { // The deadline is set.
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("the gate does not answer at the port: %w", err)
	}
	mux, err := yamux.Client(&buffered{conn, reader}, settings())
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot begin a session: %w", err)
	}
	return &Session{mux}, nil
}

// begin sends the hello, and reads to the end of its confirmation.
func begin(conn net.Conn) (*bufio.Reader, error) {
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	if _, err := conn.Write(append(bytes.Clone(hello), nonce...)); err != nil {
		return nil, err
	}
	want := append(bytes.Clone(echo), nonce...)
	reader := bufio.NewReader(conn)
	last := make([]byte, 0, 2*len(want))
	for !bytes.HasSuffix(last, want) {
		b, err := reader.ReadByte()
		if err != nil {
			return nil, err
		}
		if len(last) == cap(last) {
			last = append(last[:0], last[len(want):]...)
		}
		last = append(last, b)
	}
	return reader, nil
}

// Open opens a connection.
func (s *Session) Open() (net.Conn, error) {
	conn, err := s.mux.Open()
	if err != nil {
		return nil, err
	}
	return stream{conn, conn.RemoteAddr()}, nil
}

// Close ends the session and its connections.
func (s *Session) Close() error { return s.mux.Close() }

// buffered is a connection of which something has been read.
type buffered struct {
	net.Conn
	reader io.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.reader.Read(p) }
