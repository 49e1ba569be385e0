package serial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// port returns a listener that echoes, and a function that opens its other end. A socket has no
// state in which nobody has it open, so that the same end is used again and again.
func port(t *testing.T) net.Conn {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewListener(os.NewFile(uintptr(fds[0]), "near"), "test")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	f := os.NewFile(uintptr(fds[1]), "far")
	far, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		far.Close()
	})
	return far
}

// kept is the end of a port that the end of a session does not close.
type kept struct{ net.Conn }

func (k kept) Close() error { return k.SetReadDeadline(time.Unix(1, 0)) }

func dial(t *testing.T, far net.Conn) *Session {
	t.Helper()
	_ = far.SetDeadline(time.Time{})
	s, err := Dial(t.Context(), kept{far})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// checkEcho opens a connection, and expects what it sends.
func checkEcho(t *testing.T, s *Session, text []byte) {
	t.Helper()
	conn, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = conn.Write(text) }()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, text) {
		t.Errorf("got %.40q, %v, want %.40q", got, err, text)
	}
}

// Several connections of a session are independent.
func TestSession(t *testing.T) {
	s := dial(t, port(t))
	held, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for i := range 10 {
		checkEcho(t, s, bytes.Repeat([]byte{byte(i)}, 1<<i*100))
	}
	checkEcho(t, s, bytes.Repeat([]byte("x"), 4<<20))
	if _, err := held.Write([]byte("still")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(held, make([]byte, 5)); err != nil {
		t.Error(err)
	}
}

// A session works whatever was sent before: garbage, half a hello, half a session, the stop of a
// client in the middle of its output.
func TestRecovery(t *testing.T) {
	far := port(t)
	interrupted := func() {
		s := dial(t, far)
		conn, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(bytes.Repeat([]byte("x"), 200<<10)) // Nobody reads what comes back.
		_ = s.Close()
	}
	for i, before := range []func(){
		func() {},
		func() { fmt.Fprint(far, "garbage\n") },
		func() { _, _ = far.Write(bytes.Repeat([]byte{0, 1, 2, 0xff, hello[0]}, 1000)) },
		func() { _, _ = far.Write(hello[:7]) },
		func() { _, _ = far.Write(hello) }, // without a nonce: that of the next hello is part of it
		interrupted,
		func() {},
		func() { _, _ = far.Write(append(bytes.Clone(hello), bytes.Repeat([]byte("n"), nonceSize)...)) },
		func() { fmt.Fprint(far, strings.Repeat("no frames of yamux", 100)) },
		interrupted,
		interrupted,
	} {
		before()
		if i == 4 { // The hello is lost; a second one is not.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = far.SetDeadline(time.Time{})
			if s, err := Dial(ctx, kept{far}); err == nil {
				_ = s.Close()
			}
			cancel()
		}
		s := dial(t, far)
		checkEcho(t, s, []byte("hello"))
		_ = s.Close() // Else it would read what is for the next one.
	}
}

// A client that gets no answer gives up in time.
func TestNoAnswer(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	go func() { _, _ = io.Copy(near, near) }() // An echo is no confirmation.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, far); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestListenNowhere(t *testing.T) {
	for _, name := range []string{"org.keelson.none", "/dev/none"} {
		if _, err := Listen(name); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A closed listener accepts nothing, and ends what waits.
func TestClose(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	l, err := NewListener(os.NewFile(uintptr(fds[0]), "near"), "test")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// The pattern is found wherever the stream is divided.
func FuzzFinder(f *testing.F) {
	f.Add([]byte("x"), []byte("y"), uint8(3))
	f.Add([]byte{hello[0]}, hello[:5], uint8(1))
	f.Fuzz(func(t *testing.T, before, after []byte, size uint8) {
		if bytes.Contains(before, hello[:1]) && bytes.Contains(before, hello) {
			t.Skip()
		}
		text := append(append(bytes.Clone(before), hello...), after...)
		want := bytes.Index(text, hello) + len(hello)
		find := finder{pattern: hello}
		for at := 0; at < len(text); {
			end := min(at+int(size)+1, len(text))
			if n := find.find(text[at:end]); n >= 0 {
				if at+n != want {
					t.Errorf("found in %q at %d, want %d", text, at+n, want)
				}
				return
			}
			at = end
		}
		t.Errorf("not found in %q", text)
	})
}
