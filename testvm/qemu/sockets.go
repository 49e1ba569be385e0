package qemu

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
)

// sockets connect this process with QEMU. The remote ends are in the order of the file
// descriptors in args.go.
type sockets struct {
	console    io.ReadWriteCloser
	qmp, agent net.Conn
	remote     []*os.File
}

// newSockets makes a read-only console if oneWay is set: QEMU polls a socket for input,
// which makes virtual time depend on the host's.
func newSockets(oneWay bool) (*sockets, error) {
	s := &sockets{}
	var errs [3]error
	if oneWay {
		s.console, errs[0] = s.pipe("console")
	} else {
		s.console, errs[0] = s.pair("console")
	}
	s.qmp, errs[1] = s.pair("qmp")
	s.agent, errs[2] = s.pair("agent")
	if err := errors.Join(errs[:]...); err != nil {
		s.closeLocal()
		s.closeRemote()
		return nil, fmt.Errorf("cannot make the sockets of a machine: %w", err)
	}
	return s, nil
}

func (s *sockets) pair(name string) (net.Conn, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s.remote = append(s.remote, os.NewFile(uintptr(fds[1]), name))
	local := os.NewFile(uintptr(fds[0]), name)
	conn, err := net.FileConn(local)
	return conn, errors.Join(err, local.Close())
}

func (s *sockets) pipe(string) (io.ReadWriteCloser, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.remote = append(s.remote, w)
	return r, nil
}

func (s *sockets) closeLocal() {
	for _, c := range []io.Closer{s.console, s.qmp, s.agent} {
		if c != nil {
			_ = c.Close()
		}
	}
}

func (s *sockets) closeRemote() {
	for _, f := range s.remote {
		_ = f.Close()
	}
	s.remote = nil
}

// tail keeps the last limit bytes written to it.
type tail struct {
	limit int
	mu    sync.Mutex
	buf   []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - t.limit; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
