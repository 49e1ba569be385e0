package serial

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
	"golang.org/x/sys/unix"
)

// classDir is where the kernel lists virtio-serial ports with their names.
const classDir = "/sys/class/virtio-ports"

// confirmTime is how long the host may take to read the confirmation of a session.
const confirmTime = 10 * time.Second

// Listen listens at a virtio-serial port: its name, or the path of its device.
func Listen(name string) (net.Listener, error) {
	path, err := device(name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("another program has %s open: %w", path, err)
	}
	if err != nil {
		return nil, err
	}
	return NewListener(f, name)
}

// device returns the device of a port.
func device(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		return name, nil
	}
	paths, err := filepath.Glob(filepath.Join(classDir, "*", "name"))
	if err != nil {
		return "", err
	}
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(text)) == name {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(path))), nil
		}
	}
	return "", fmt.Errorf("there is no virtio-serial port with the name %q: %w", name, fs.ErrNotExist)
}

// listener accepts the connections of one session after the other.
type listener struct {
	file  *os.File
	name  string
	conns chan net.Conn
	ended chan struct{} // the listener is closed
	done  chan struct{} // nothing reads the port any more
	end   func()

	mu      sync.Mutex // held while the port is written to
	current *session
}

// session is the server's end of a session, as yamux uses it.
type session struct {
	l    *listener
	in   *io.PipeReader
	fill *io.PipeWriter
	mux  *yamux.Session
}

// NewListener listens at the open device of a port, or at a socket in its place. It closes the file.
func NewListener(f *os.File, name string) (net.Listener, error) {
	if err := f.SetDeadline(time.Time{}); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot wait for data of %s: %w", name, err)
	}
	l := &listener{file: f, name: name, conns: make(chan net.Conn), ended: make(chan struct{}), done: make(chan struct{})}
	l.end = sync.OnceFunc(func() { close(l.ended) })
	go l.read()
	return l, nil
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends the session and closes the port.
func (l *listener) Close() error {
	l.end()
	err := l.file.Close()
	<-l.done
	return err
}

// Addr returns the name of the port.
func (l *listener) Addr() net.Addr { return address(l.name) }

type address string

func (address) Network() string  { return "serial" }
func (a address) String() string { return "serial:" + string(a) }

// read reads the port until it is closed.
func (l *listener) read() {
	defer close(l.done)
	defer l.end()
	var s *session
	defer func() { s.close() }()
	find := finder{pattern: hello}
	buf := make([]byte, 32<<10)
	for {
		n, err := l.file.Read(buf)
		if errors.Is(err, io.EOF) { // The host has closed the port.
			s.close()
			s, find.matched = nil, 0
			err = l.connected()
		}
		if err != nil {
			return
		}
		for p := buf[:n]; len(p) > 0; {
			end := find.find(p)
			if end < 0 {
				s.receive(p)
				break
			}
			var nonce []byte
			if nonce, p, err = l.nonce(p[end:]); err != nil {
				break // The next read fails too, if it must.
			}
			s.close()
			s = l.begin(nonce)
		}
	}
}

// nonce returns what follows a hello, and the rest.
func (l *listener) nonce(p []byte) (nonce, rest []byte, err error) {
	nonce = make([]byte, nonceSize)
	n := copy(nonce, p)
	_, err = io.ReadFull(l.file, nonce[n:])
	return nonce, p[n:], err
}

// connected waits until a program of the host has the port open.
func (l *listener) connected() error {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Write(func(fd uintptr) bool { // Without it, waits for the next change.
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		_, err := unix.Poll(p, 0)
		return err == nil && p[0].Revents&unix.POLLHUP == 0
	})
}

// begin begins a session. It is nil if the host does not take the confirmation.
func (l *listener) begin(nonce []byte) *session {
	s := &session{l: l}
	s.in, s.fill = io.Pipe()
	l.mu.Lock()
	l.current = s
	_ = l.file.SetWriteDeadline(time.Now().Add(confirmTime))
	_, err := l.file.Write(append(bytes.Clone(echo), nonce...))
	_ = l.file.SetWriteDeadline(time.Time{})
	l.mu.Unlock()
	if err != nil {
		return nil
	}
	if s.mux, err = yamux.Server(s, settings()); err != nil {
		return nil
	}
	go l.accept(s)
	return s
}

// accept passes the connections of a session on.
func (l *listener) accept(s *session) {
	for {
		conn, err := s.mux.AcceptStream()
		if err != nil {
			return
		}
		select {
		case l.conns <- stream{conn, l.Addr()}:
		case <-l.done:
			conn.Close()
			return
		}
	}
}

// receive gives a session what has arrived for it. Without one it is garbage.
func (s *session) receive(p []byte) {
	if s != nil {
		_, _ = s.fill.Write(p) // It has ended; the next hello begins another.
	}
}

func (s *session) Read(p []byte) (int, error) { return s.in.Read(p) }

// Write writes to the port, unless another session has it.
func (s *session) Write(p []byte) (int, error) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.l.current != s {
		return 0, io.ErrClosedPipe
	}
	return s.l.file.Write(p)
}

// Close is called by yamux.
func (s *session) Close() error { return s.in.Close() }

// close ends a session, also in the middle of a write that the host does not take.
func (s *session) close() {
	if s == nil {
		return
	}
	_ = s.fill.CloseWithError(io.EOF)
	_ = s.l.file.SetWriteDeadline(time.Unix(1, 0))
	s.l.mu.Lock()
	s.l.current = nil
	_ = s.l.file.SetWriteDeadline(time.Time{})
	s.l.mu.Unlock()
	_ = s.mux.Close()
}
