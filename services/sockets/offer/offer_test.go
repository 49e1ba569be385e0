package offer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/runtime/fdpass"
)

func twoFiles(t *testing.T) []*os.File {
	t.Helper()
	var all []*os.File
	for _, content := range []string{"a", "b"} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		all = append(all, f)
	}
	return all
}

// The shim of the container gets the files in their order, as often as it asks.
func TestOffer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sockets")
	if files, err := Fetch(dir, "ns", "web"); files != nil || err != nil {
		t.Errorf("without an offer: %v, %v", files, err)
	}
	o, err := New(dir, "ns", "web", twoFiles(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		files, err := Fetch(dir, "ns", "web")
		if err != nil || len(files) != 2 {
			t.Fatal(files, err)
		}
		for i, want := range []string{"a", "b"} {
			text := make([]byte, 2)
			if n, err := unix.Pread(files[i], text, 0); err != nil || string(text[:n]) != want {
				t.Errorf("file %d: %q, %v", i, text, err)
			}
		}
		fdpass.Close(files)
	}
	if files, err := Fetch(dir, "ns", "web2"); files != nil || err != nil {
		t.Errorf("another service: %v, %v", files, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "web")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info, err)
	}
	if !o.Close() {
		t.Error("it was not taken")
	}
	if files, err := Fetch(dir, "ns", "web"); files != nil || err != nil {
		t.Errorf("after its end: %v, %v", files, err)
	}
}

// A container of the same name in another namespace gets nothing, and does not start
// without its sockets. An offer that nobody has taken is reported.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	o, err := New(dir, "ns", "web", twoFiles(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{"n", "ns2", "", strings.Repeat("x", 200)} {
		if files, err := Fetch(dir, namespace, "web"); err == nil || files != nil {
			t.Errorf("%s: %v, %v", namespace, files, err)
		}
	}
	if o.Close() {
		t.Error("it counts as taken")
	}
}

// A supervisor that has died leaves a socket: the shim fails, and the next offer replaces
// it.
func TestStaleSocket(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(dir, "web")}); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	if files, err := Fetch(dir, "ns", "web"); err == nil || files != nil {
		t.Errorf("%v, %v", files, err)
	}
	o, err := New(dir, "ns", "web", twoFiles(t))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	files, err := Fetch(dir, "ns", "web")
	if err != nil {
		t.Error(err)
	}
	fdpass.Close(files)
}
