package sockets

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
	"keelson/runtime/fdstore"
)

// parse returns the sockets of an annotation.
func parse(t *testing.T, value string) []bundle.Socket {
	t.Helper()
	all, err := bundle.ParseListen(value)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// freePort returns a port on which nothing listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// logged is a logger whose text a test reads.
func logged() (*slog.Logger, *strings.Builder) {
	var text strings.Builder
	return slog.New(slog.NewTextHandler(&text, nil)), &text
}

func newStore(t *testing.T) *fdstore.Pair {
	t.Helper()
	p, err := fdstore.NewPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = p[0].Close(), p[1].Close() })
	return p
}

// accepts reports whether a client can connect.
func accepts(network, address string) bool {
	c, err := net.Dial(network, address)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// Sockets are opened, kept while they are wanted, and closed.
func TestSet(t *testing.T) {
	logger, text := logged()
	s := NewSet(nil, logger)
	dir := t.TempDir()
	a, b := freePort(t), filepath.Join(dir, "deep", "b.sock")
	both := parse(t, "tcp:127.0.0.1:"+a+" unix:"+b)
	files, err := s.Take("web", both, false)
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	if !accepts("tcp", "127.0.0.1:"+a) || !accepts("unix", b) {
		t.Error("it does not accept connections")
	}
	if info, err := os.Stat(b); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v", info, err)
	}
	for i, name := range []string{"tcp:127.0.0.1:" + a, "unix:" + b} {
		accepting, err := unix.GetsockoptInt(int(files[i].Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil || accepting != 1 || s.List("web")[i] != name {
			t.Errorf("socket %d: %v, %v, %v", i, accepting, err, s.List("web"))
		}
	}
	// A process may have made it non-blocking; the next one gets the same socket.
	if err := unix.SetNonblock(int(files[1].Fd()), true); err != nil {
		t.Fatal(err)
	}
	swapped := []bundle.Socket{both[1], both[0]}
	again, err := s.Take("web", swapped, false)
	if err != nil || again[0] != files[1] || again[1] != files[0] {
		t.Errorf("%v, %v; want %v swapped", again, err, files)
	}
	if flags, err := unix.FcntlInt(files[1].Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags %x, %v", flags, err)
	}
	s.Retain("web", both[1:])
	if accepts("tcp", "127.0.0.1:"+a) || !accepts("unix", b) {
		t.Error("the wrong one is closed")
	}
	s.Retain("web", nil)
	if _, err := os.Lstat(b); !os.IsNotExist(err) || accepts("unix", b) {
		t.Errorf("it is still there: %v", err)
	}
	if len(s.Services()) != 0 || strings.Count(text.String(), "PID 1 does not keep them") != 1 {
		t.Errorf("left: %v, log: %s", s.Services(), text)
	}
}

// If one of several sockets cannot be opened, nothing has changed.
func TestOpenFails(t *testing.T) {
	s := NewSet(nil, slog.New(slog.DiscardHandler))
	dir := t.TempDir()
	file, live := filepath.Join(dir, "file"), filepath.Join(dir, "live")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", live)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := freePort(t)
	for bad, why := range map[string]string{
		"unix:" + file: "not a socket", "unix:" + live: "address already in use", "tcp:" + taken.Addr().String(): "address already in use",
		"tcp:192.0.2.1:80": "cannot assign requested address", "unix:" + file + "/x": "not a directory",
	} {
		err := s.Open("web", parse(t, "tcp:127.0.0.1:"+free+" "+bad))
		if err == nil || !strings.Contains(err.Error(), "cannot listen on "+bad) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", bad, err)
		}
		if len(s.Services()) != 0 || accepts("tcp", "127.0.0.1:"+free) {
			t.Errorf("%s: %v are open", bad, s.List("web"))
		}
	}
	if !accepts("unix", live) {
		t.Error("another program's socket was replaced")
	}
}

// A port without an address takes connections of IPv4 and IPv6, for TCP and UDP; [::] takes
// those of IPv6 alone.
func TestAllAddresses(t *testing.T) {
	s := NewSet(nil, slog.New(slog.DiscardHandler))
	port := freePort(t)
	if err := s.Open("web", parse(t, "tcp:"+port+" udp:"+port)); err != nil {
		t.Fatal(err)
	}
	hosts := []string{"127.0.0.1"}
	if accepts("tcp", "[::1]:"+port) {
		hosts = append(hosts, "[::1]")
	}
	for _, host := range hosts {
		if !accepts("tcp", host+":"+port) {
			t.Errorf("nothing listens on %s", host)
		}
		c, err := net.Dial("udp", host+":"+port)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(host)); err != nil {
			t.Error(err)
		}
		got := make([]byte, 20)
		n, _, err := unix.Recvfrom(int(s.open["web"][1].file.Fd()), got, 0)
		if err != nil || string(got[:n]) != host {
			t.Errorf("received %q, %v", got[:max(n, 0)], err)
		}
		c.Close()
	}
	s.Retain("web", nil)
	if len(hosts) > 1 {
		if err := s.Open("web", parse(t, "tcp:[::]:"+port+" tcp:0.0.0.0:"+port)); err != nil {
			t.Error(err)
		}
		s.Retain("web", nil)
	}
}

// The next supervisor gets the sockets, and a connection that waits is not lost.
func TestStored(t *testing.T) {
	pair := newStore(t)
	logger, text := logged()
	first := NewSet(fdstore.New(pair), logger)
	port, path := freePort(t), filepath.Join(t.TempDir(), "s")
	want := parse(t, "n=tcp:127.0.0.1:"+port+" unix:"+path)
	for _, service := range []string{"web", "gone"} {
		if err := first.Open(service, map[string][]bundle.Socket{"web": want, "gone": parse(t, "udp:127.0.0.1:"+port)}[service]); err != nil {
			t.Fatal(err)
		}
	}
	waiting, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	for _, all := range first.open { // As when the supervisor is killed.
		for _, o := range all {
			_ = o.file.Close()
		}
	}
	second := NewSet(fdstore.New(pair), logger)
	if got := second.Services(); !slices.Equal(got, []string{"gone", "web"}) {
		t.Errorf("services %v", got)
	}
	second.Retain("gone", nil)
	files, err := second.Take("web", want, false)
	if err != nil || len(files) != 2 || second.open["web"][0].Name != "n" {
		t.Fatal(files, err)
	}
	fd, _, err := unix.Accept(int(files[0].Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		t.Error(err)
	}
	_ = unix.Close(fd)
	got := make([]byte, 2)
	if n, err := waiting.Read(got); err != nil || string(got[:n]) != "x" {
		t.Errorf("%q, %v", got[:n], err)
	}
	second.Retain("web", nil)
	if _, err := os.Lstat(path); !os.IsNotExist(err) || accepts("tcp", "127.0.0.1:"+port) {
		t.Errorf("it is still there: %v", err)
	}
	if third := NewSet(fdstore.New(pair), logger); len(third.Services()) != 0 || text.Len() > 0 {
		t.Errorf("left: %v, log: %s", third.Services(), text)
	}
}

// A store that cannot be read is reported; sockets are opened again.
func TestBadStore(t *testing.T) {
	for _, bad := range []string{"{", `[{"Service":"web","Where":"tcp:1"}]`} {
		pair := newStore(t)
		if err := fdstore.New(pair).Put([]byte(bad), nil); err != nil {
			t.Fatal(err)
		}
		logger, text := logged()
		s := NewSet(fdstore.New(pair), logger)
		if !strings.Contains(text.String(), "opened again") || len(s.Services()) > 0 {
			t.Errorf("%s: %s", bad, text)
		}
		if err := s.Open("web", parse(t, "tcp:127.0.0.1:"+freePort(t))); err != nil {
			t.Error(err)
		}
		s.Retain("web", nil)
	}
}

// A stale path of a Unix socket is replaced; one that another program has taken meanwhile
// is not removed.
func TestUnixPath(t *testing.T) {
	s := NewSet(nil, slog.New(slog.DiscardHandler))
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if err := s.Open("web", parse(t, "unix:"+path)); err != nil || !accepts("unix", path) {
		t.Fatal(err)
	}
	if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path + "2", Net: "unix"}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Rename(path+"2", path); err != nil {
		t.Fatal(err)
	}
	s.Retain("web", nil)
	if !accepts("unix", path) {
		t.Error("another program's socket was removed")
	}
}
