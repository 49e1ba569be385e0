package qemu

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
)

// sockets are the pairs between this process and QEMU, in the order of the
// file descriptors named in args.go.
type sockets struct {
	local  []net.Conn
	remote []*os.File
}

func newSockets() (*sockets, error) {
	s := &sockets{}
	for _, name := range []string{"console", "qmp", "agent"} {
		if err := s.add(name); err != nil {
			s.closeLocal()
			s.closeRemote()
			return nil, fmt.Errorf("cannot make the %s socket: %w", name, err)
		}
	}
	return s, nil
}

func (s *sockets) add(name string) error {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s.remote = append(s.remote, os.NewFile(uintptr(fds[1]), name))
	local := os.NewFile(uintptr(fds[0]), name)
	conn, err := net.FileConn(local)
	if err := errors.Join(err, local.Close()); err != nil {
		return err
	}
	s.local = append(s.local, conn)
	return nil
}

func (s *sockets) closeLocal() {
	for _, c := range s.local {
		_ = c.Close()
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
