// Package serial carries many connections over one stream of bytes that has no beginning and no
// end of its own: a virtio-serial port, at whose other end programs of the host come and go.
//
// A client begins a session with a hello, random bytes among it, and ignores what it receives
// until these come back; the server ends the session before, wherever it is. So neither garbage
// nor half a session of another client disturbs the next one. The hello cannot occur within a
// session by accident: it has 128 fixed bits. In a session, yamux divides the stream into connections.
// Nothing here is secret or proves who the other side is: TLS does, in each connection.
//
// Sources: virtio 1.2, section 5.3 (console device); drivers/char/virtio_console.c: read(2) returns
// 0 and poll(2) reports POLLHUP while no program of the host has the port open;
// https://github.com/hashicorp/yamux/blob/master/spec.md.
package serial

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/hashicorp/yamux"
)

// hello begins a session, echo its confirmation. A nonce follows each. The first byte occurs
// nowhere else in either, so that a search needs no backtracking.
var (
	hello = []byte("\x16keelson-gate-1\n")
	echo  = []byte("\x06keelson-gate-1\n")
)

const nonceSize = 16

// settings of yamux: a session ends with the stream below, and nobody sends to find out.
func settings() *yamux.Config {
	c := yamux.DefaultConfig()
	c.AcceptBacklog = 32
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = time.Minute
	c.LogOutput = io.Discard
	return c
}

// stream is a connection of a session.
type stream struct {
	net.Conn
	remote net.Addr
}

func (s stream) RemoteAddr() net.Addr { return s.remote }

// Read reports that a deadline has passed as other connections do. After the error of yamux, which
// is not temporary, a connection of TLS could not be read any more.
func (s stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if errors.Is(err, yamux.ErrTimeout) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// finder finds a pattern in a stream that arrives in parts.
type finder struct {
	pattern []byte // its first byte occurs once
	matched int
}

// find returns how many bytes of p end with the pattern, or -1 when it does not end in p.
func (f *finder) find(p []byte) int {
	for i := 0; i < len(p); i++ {
		if f.matched == 0 {
			next := bytes.IndexByte(p[i:], f.pattern[0])
			if next < 0 {
				return -1
			}
			i += next
		}
		switch p[i] {
		case f.pattern[f.matched]:
			f.matched++
		case f.pattern[0]:
			f.matched = 1
		default:
			f.matched = 0
		}
		if f.matched == len(f.pattern) {
			f.matched = 0
			return i + 1
		}
	}
	return -1
}
