package control

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a client that receives slowly. What it has not taken yet costs memory, and its connection a
// place.
const (
	pauseTime    = time.Minute      // how long it may take nothing of a response
	responseTime = 10 * time.Minute // to take all that was sent
)

// writePart is how much is written at a time, in bytes. The kernel counts what a client has taken by such parts:
// see queued.
const writePart = 4 << 10

// progress writes to a connection as long as the other end takes something.
type progress struct {
	conn   net.Conn
	queued func() int // bytes that the other end has not taken; nil: unknown
	until  time.Time  // when the other end has to have taken everything
}

// write writes a text. It is called by one goroutine at a time. The time for a response begins when nothing was
// left of the one before.
func (p *progress) write(text []byte) (n int, err error) {
	if p.left() == 0 {
		p.until = time.Now().Add(responseTime)
	}
	for n < len(text) && err == nil {
		var m int
		m, err = p.part(text[n:min(len(text), n+writePart)])
		n += m
	}
	return n, err
}

// part writes a part of a response.
func (p *progress) part(text []byte) (n int, err error) {
	for left := p.left(); ; {
		deadline := time.Now().Add(pauseTime)
		if deadline.After(p.until) {
			deadline = p.until
		}
		if err := p.conn.SetWriteDeadline(deadline); err != nil {
			return n, err
		}
		m, err := p.conn.Write(text[n:])
		n += m
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(p.until) {
			return n, err
		}
		before := left
		if left = p.left(); m == 0 && left >= before {
			return n, err
		}
	}
}

func (p *progress) left() int {
	if p.queued == nil {
		return 0
	}
	return p.queued()
}

// queuedOf returns a function that returns what the other end of a socket has not taken (SIOCOUTQ of
// unix(7)). The kernel lets a process that waits write again only when most of the buffer is empty.
func queuedOf(conn *net.UnixConn) func() int {
	return func() (n int) {
		raw, err := conn.SyscallConn()
		if err != nil {
			return 0
		}
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		return n
	}
}
