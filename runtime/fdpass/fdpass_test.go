package fdpass

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T) [2]int {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Close(ends[:]) })
	return ends
}

// openFiles counts the descriptors of this process.
func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestPass(t *testing.T) {
	ends := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Send(ends[0], []byte("hello"), []int{int(w.Fd()), int(r.Fd())}, 0); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	data, files, err := Receive(ends[1], 100, 0)
	if err != nil || string(data) != "hello" || len(files) != 2 {
		t.Fatalf("%q, %v, %v", data, files, err)
	}
	defer Close(files)
	if flags, err := unix.FcntlInt(uintptr(files[0]), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %x, %v: programs inherit it", flags, err)
	}
	if _, err := unix.Write(files[0], []byte("x")); err != nil {
		t.Error(err)
	}
	got := make([]byte, 1)
	if _, err := r.Read(got); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	if err := Send(ends[0], []byte("without"), nil, 0); err != nil {
		t.Fatal(err)
	}
	if data, files, err := Receive(ends[1], 100, 0); err != nil || string(data) != "without" || len(files) != 0 {
		t.Errorf("%q, %v, %v", data, files, err)
	}
}

// A message of the largest size arrives whole; the descriptors of one that is too large
// are closed.
func TestLimits(t *testing.T) {
	ends := pair(t)
	many := make([]int, MaxFiles)
	for i := range many {
		many[i] = ends[0]
	}
	if err := Send(ends[0], bytes.Repeat([]byte("x"), 60<<10), many, unix.MSG_DONTWAIT); err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	data, files, err := Receive(ends[1], 60<<10, unix.MSG_PEEK)
	if err != nil || len(data) != 60<<10 || len(files) != MaxFiles {
		t.Errorf("%d bytes, %d files, %v", len(data), len(files), err)
	}
	Close(files)
	if _, files, err := Receive(ends[1], 10, 0); !errors.Is(err, ErrTruncated) || files != nil {
		t.Errorf("%v, %v", files, err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	if _, _, err := Receive(ends[1], 10, unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
		t.Error(err)
	}
	if err := Send(ends[0], []byte("x"), append(many, 0), 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("%d descriptors: %v", MaxFiles+1, err)
	}
}
