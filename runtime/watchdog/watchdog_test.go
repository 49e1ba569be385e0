package watchdog

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseTimeout(t *testing.T) {
	for value, want := range map[string]time.Duration{"off": 0, "5s": 5 * time.Second, "1h": time.Hour, "90s": 90 * time.Second} {
		if got, err := ParseTimeout(value); got != want || err != nil {
			t.Errorf("%s: %v, %v", value, got, err)
		}
	}
	for _, value := range []string{"", "on", "60", "4s", "2h", "-10s", "0"} {
		if got, err := ParseTimeout(value); err == nil || !strings.Contains(err.Error(), `"`+value+`"`) {
			t.Errorf("%q: %v, %v", value, got, err)
		}
	}
}

func FuzzParseTimeout(f *testing.F) {
	f.Add("off")
	f.Add("30s")
	f.Fuzz(func(t *testing.T, value string) {
		d, err := ParseTimeout(value)
		if err == nil && d != 0 && (d < minTimeout || d > maxTimeout) || err != nil && d != 0 {
			t.Errorf("%q: %v, %v", value, d, err)
		}
	})
}

func TestOpenNothing(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none"), time.Minute); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file") // Not a watchdog.
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, time.Minute); !errors.Is(err, unix.ENOTTY) {
		t.Error(err)
	}
}

func TestReasons(t *testing.T) {
	dir := t.TempDir()
	for path, text := range map[string]string{
		"watchdog0/bootstatus": "33\n", "watchdog0/identity": "i6300ESB timer\n",
		"watchdog1/bootstatus": "0\n", "watchdog1/identity": "other\n",
		"watchdog2/bootstatus": "no number\n", "watchdog3/bootstatus": "0x10\n",
	} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want := "i6300ESB timer: has reset the machine, i6300ESB timer: overheated, watchdog3: bad power"
	if got := strings.Join(Reasons(dir), ", "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// answering serves a socket with check until the test ends.
func answering(t *testing.T, check func() error) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "socket")
	serve(t, socket, check)
	return socket
}

func serve(t *testing.T, socket string, check func() error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Answer(ctx, socket, check) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	for errors.Is(Ask(socket, time.Minute), ErrNoAnswer) { // Until it listens.
		runtime.Gosched()
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	return stop
}

func TestAsk(t *testing.T) {
	if err := Ask(filepath.Join(t.TempDir(), "none"), time.Minute); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
	socket := answering(t, func() error { return nil })
	for range 100 { // More than any queue.
		if err := Ask(socket, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	wrong := errors.New("containerd does not answer " + strings.Repeat("x", 2*answerLimit))
	if err := Ask(answering(t, func() error { return wrong }), time.Minute); err == nil || !strings.HasPrefix(wrong.Error(), err.Error()) || errors.Is(err, ErrNoAnswer) {
		t.Error(err)
	}
}

// Questions to a supervisor that is stuck end in time. They are answered when it works
// again, and by the next one.
func TestAskStuck(t *testing.T) {
	stuck := make(chan struct{})
	var isStuck atomic.Bool
	socket := filepath.Join(t.TempDir(), "socket")
	stop := serve(t, socket, func() error {
		if isStuck.Load() {
			<-stuck
		}
		return nil
	})
	isStuck.Store(true)
	for range 3 {
		if err := Ask(socket, 10*time.Millisecond); !errors.Is(err, ErrNoAnswer) {
			t.Error(err)
		}
	}
	isStuck.Store(false)
	close(stuck)
	if err := Ask(socket, time.Minute); err != nil {
		t.Error(err)
	}
	stop()
	if err := Ask(socket, time.Minute); !errors.Is(err, ErrNoAnswer) {
		t.Error(err)
	}
	serve(t, socket, func() error { return nil })
	if err := Ask(socket, time.Minute); err != nil {
		t.Error(err)
	}
}

// A supervisor that has no file descriptor left for a while answers afterwards.
func TestAnswerAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ours, theirs := net.Pipe()
		failures := 3
		accept := func() (net.Conn, error) {
			if failures--; failures >= 0 {
				return nil, unix.EMFILE
			}
			if failures == -1 {
				return theirs, nil
			}
			<-ctx.Done()
			return nil, net.ErrClosed
		}
		ended := make(chan struct{})
		go func() {
			answerAll(ctx, accept, func() error { return nil })
			close(ended)
		}()
		text, err := io.ReadAll(ours)
		if string(text) != alive || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		cancel()
		<-ended
	})
}
