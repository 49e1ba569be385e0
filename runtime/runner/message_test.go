package runner

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(fds[0]), unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func TestMessages(t *testing.T) {
	a, b := pair(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	three := slices.Repeat([]int{int(null.Fd())}, 3)
	want := Request{Args: []string{"--root", "/run/runc", "run", "a \"name\"\n"}, Stop: unix.SIGTERM}
	if err := SendRequest(a, want, three); err != nil {
		t.Fatal(err)
	}
	got, files, err := ReceiveRequest(b)
	if err != nil || !slices.Equal(got.Args, want.Args) || got.Stop != want.Stop || len(files) != 3 {
		t.Fatalf("%+v, %v, %v", got, files, err)
	}
	for _, file := range files {
		if flags, err := unix.FcntlInt(uintptr(file), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d: flags %x, %v", file, flags, err)
		}
		_ = unix.Close(file)
	}
	for _, want := range []Reply{{}, {Done: true}, {Done: true, Status: 255}} {
		if err := SendReply(b, want); err != nil {
			t.Fatal(err)
		}
		if r, err := ReceiveReply(a); err != nil || r != want {
			t.Errorf("%+v, %v, want %+v", r, err, want)
		}
	}
	if err := SendRequest(a, Request{Args: []string{strings.Repeat("x", maxRequest)}, Stop: unix.SIGTERM}, three); err == nil || !strings.Contains(err.Error(), "at most 65536") {
		t.Errorf("a request that is too large: %v", err)
	}
	if err := SendRequest(a, want, three[:2]); err == nil {
		t.Error("a request with two descriptors is sent")
	}
}

func TestClosed(t *testing.T) {
	a, b := pair(t)
	if err := unix.Shutdown(b, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	if _, err := ReceiveReply(a); !errors.Is(err, ErrClosed) {
		t.Errorf("answer: %v", err)
	}
	if _, _, err := ReceiveRequest(a); !errors.Is(err, ErrClosed) {
		t.Errorf("request: %v", err)
	}
	if err := SendReply(a, Reply{}); !errors.Is(err, ErrClosed) {
		t.Errorf("sent answer: %v", err)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"args":["run","x"],"stop":15}`), 3)
	f.Add([]byte(`{"args":["run","x"],"stop":65}`), 3)
	f.Add([]byte(`{}`), 3)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, data []byte, files int) {
		if r, err := parseRequest(data, files); err == nil && (len(r.Args) == 0 || files != streams || r.Stop < 1 || r.Stop > 64) {
			t.Errorf("%+v with %d descriptors is accepted", r, files)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"done":true,"status":3}`))
	f.Add([]byte(`{"status":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := parseReply(data); err == nil && (r.Status < 0 || r.Status > 255) {
			t.Errorf("%+v is accepted", r)
		}
	})
}
