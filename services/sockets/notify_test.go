package sockets

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/runtime/fdstore"
)

// reported stands for what a service has reported.
type reported struct{ Ready bool }

// notifySocket returns a socket for datagrams, and a function that sends to it.
func notifySocket(t *testing.T) (*os.File, func(string) error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "notify"), func(text string) error {
		sender, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(sender)
		return unix.Sendto(sender, []byte(text), 0, &unix.SockaddrUnix{Name: path})
	}
}

// dies closes the descriptors of a Set, as the end of its process does.
func (s *Set) dies() {
	for _, n := range s.notify {
		_ = n.file.Close()
	}
}

// What is sent between two supervisors reaches the next one, which also knows what was
// reported before. A socket ends with its container.
func TestNotifyStored(t *testing.T) {
	pair := newStore(t)
	logger, text := logged()
	first := NewSet(fdstore.New(pair), logger)
	socket, send := notifySocket(t)
	if err := first.KeepNotify("web", 7, socket, reported{}); err != nil {
		t.Fatal(err)
	}
	if err := first.KeepNotifyState("web", 7, reported{Ready: true}); err != nil {
		t.Fatal(err)
	}
	unclaimed, sendToUnclaimed := notifySocket(t)
	if err := first.KeepNotify("gone", 8, unclaimed, reported{}); err != nil {
		t.Fatal(err)
	}
	_, _ = socket.Close(), unclaimed.Close()
	first.dies()
	if err := send("X=1"); err != nil {
		t.Fatal(err)
	}

	second := NewSet(fdstore.New(pair), logger)
	var state reported
	if got, err := second.Notify("web", 9, &state); got != nil || err != nil {
		t.Errorf("another container has its socket: %v, %v", got, err)
	}
	got, err := second.Notify("web", 7, &state)
	if err != nil || got == nil || !state.Ready {
		t.Fatalf("%v, %+v, %v", got, state, err)
	}
	message := make([]byte, 10)
	if n, err := got.Read(message); err != nil || string(message[:n]) != "X=1" {
		t.Errorf("%q, %v", message[:max(n, 0)], err)
	}
	second.ForgetUnclaimed()
	if err := sendToUnclaimed("X=2"); err == nil {
		t.Error("a socket that nobody has taken over is open")
	}
	if err := send("X=3"); err != nil {
		t.Error(err)
	}

	// The next container of the same name takes the place of this one, which ends after that.
	next, sendToNext := notifySocket(t)
	defer next.Close()
	if err := second.KeepNotify("web", 10, next, reported{}); err != nil {
		t.Fatal(err)
	}
	_ = got.Close()
	if err := send("X=4"); err == nil {
		t.Error("the socket of the container before is open")
	}
	second.ForgetNotify("web", 7)
	if err := second.KeepNotifyState("web", 7, reported{Ready: true}); err != nil {
		t.Error(err)
	}
	if err := sendToNext("X=5"); err != nil {
		t.Error(err)
	}
	third := NewSet(fdstore.New(pair), logger)
	if got, err := third.Notify("web", 10, &state); got == nil || err != nil || state.Ready {
		t.Errorf("%v, %+v, %v", got, state, err)
	}
	third.ForgetNotify("web", 10)
	if err := third.KeepNotifyState("web", 10, reported{Ready: true}); err != nil {
		t.Error(err)
	}
	if left := NewSet(fdstore.New(pair), logger); len(left.notify) != 0 || text.Len() > 0 {
		t.Errorf("left: %v, log: %s", left.notify, text)
	}
}

// Of too many sockets, listening ones are kept, and what cannot be kept is reported once.
func TestTooManyStored(t *testing.T) {
	pair := newStore(t)
	logger, text := logged()
	s := NewSet(fdstore.New(pair), logger)
	socket, _ := notifySocket(t)
	defer socket.Close()
	for i := range fdstore.MaxFiles {
		if err := s.KeepNotify(fmt.Sprint("service", i), 1+i, socket, reported{}); err != nil {
			t.Fatal(err)
		}
	}
	if text.Len() > 0 {
		t.Fatal(text)
	}
	if err := s.Open("web", parse(t, "tcp:127.0.0.1:"+freePort(t))); err != nil {
		t.Fatal(err)
	}
	if err := s.KeepNotifyState("service0", 1, reported{Ready: true}); err != nil {
		t.Fatal(err)
	}
	if strings.Count(text.String(), "too many sockets") != 1 || !strings.Contains(text.String(), "lost=1") {
		t.Error(text)
	}
	next := NewSet(fdstore.New(pair), slog.New(slog.DiscardHandler))
	if len(next.List("web")) != 1 || len(next.notify) != fdstore.MaxFiles-1 {
		t.Errorf("%v listens, %d others", next.List("web"), len(next.notify))
	}
	s.Retain("web", nil)
	if again := NewSet(fdstore.New(pair), slog.New(slog.DiscardHandler)); len(again.notify) != fdstore.MaxFiles {
		t.Errorf("%d are kept once there is room", len(again.notify))
	}
}
