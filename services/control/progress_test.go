package control

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// A client that is slow gets everything, one that takes nothing loses its connection, and so does one that is
// too slow in all.
func TestProgress(t *testing.T) {
	for name, tt := range map[string]struct {
		size  int
		pause time.Duration
		part  int
		whole bool
	}{
		"slow":     {64 << 10, pauseTime - time.Second, 16 << 10, true},
		"dead":     {64 << 10, pauseTime + time.Second, 16 << 10, false},
		"too slow": {64 << 10, pauseTime - time.Second, 1 << 10, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, client := net.Pipe()
			var queued atomic.Int64
			p := &progress{conn: server, queued: func() int { return int(queued.Load()) }}
			done := make(chan error, 1)
			go func() {
				n, err := p.write(make([]byte, tt.size))
				if n != tt.size && err == nil {
					err = io.ErrShortWrite
				}
				done <- err
				server.Close()
			}()
			synctest.Wait()
			queued.Store(1) // There is more, until the end.
			began := time.Now()
			for read, buffer := 0, make([]byte, tt.part); read < tt.size; {
				time.Sleep(tt.pause)
				n, err := io.ReadFull(client, buffer)
				if read += n; err != nil {
					break
				}
			}
			err := <-done
			if (err == nil) != tt.whole || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(began); took > responseTime+2*pauseTime {
				t.Errorf("%s: it took %v", name, took)
			}
		})
	}
}

// The kernel says how much a client has not taken, part for part.
func TestQueued(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := [2]*net.UnixConn{}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		conn, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ends[i] = conn.(*net.UnixConn)
	}
	queued := queuedOf(ends[0])
	if n := queued(); n != 0 {
		t.Errorf("%d at the begin", n)
	}
	p := &progress{conn: ends[0], queued: queued}
	if _, err := p.write(make([]byte, 8*writePart)); err != nil {
		t.Fatal(err)
	}
	for i, before := 0, queued(); i < 8; i++ {
		if before < (8-i)*writePart {
			t.Errorf("%d parts are left, and %d bytes", 8-i, before)
		}
		if _, err := io.ReadFull(ends[1], make([]byte, writePart)); err != nil {
			t.Fatal(err)
		}
		now := queued()
		if now >= before {
			t.Errorf("%d bytes, before %d", now, before)
		}
		before = now
	}
	if n := queued(); n != 0 {
		t.Errorf("%d at the end", n)
	}
}

// A large response arrives over a slow connection. It would need longer than a client may be silent.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 4<<20)
	socket := serve(t, func(_ context.Context, r Request) Response { return Response{Services: []Service{{Name: large}}} })
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /v1/services HTTP/1.0\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	buffer := make([]byte, 256<<10)
	for began := time.Now(); ; {
		n, err := conn.Read(buffer)
		all.Write(buffer[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(began) < 2*requestTime {
			time.Sleep(requestTime / 10)
		}
	}
	if !strings.Contains(all.String(), large) {
		t.Errorf("%d bytes arrived", all.Len())
	}
}
