package mounts

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A file that is opened again begins at its beginning, and cannot be changed in any way; files of
// which the caller cannot know how long a call takes, or that it has not opened for reading only,
// are refused.
func TestOpenReadOnly(t *testing.T) {
	if !inOwnRoot(t) {
		return
	}
	must(t, os.Mkdir("/proc", 0o755))
	must(t, Mount("proc", "/proc", "proc", nil))
	must(t, os.WriteFile("/file", []byte("content"), 0o600))
	must(t, os.Mkdir("/dir", 0o700))
	must(t, unix.Mkfifo("/fifo", 0o600))
	open := func(path string, flags int) *os.File {
		f, err := os.OpenFile(path, flags, 0)
		must(t, err)
		return f
	}
	f := open("/file", os.O_RDONLY)
	_, err := f.Seek(3, io.SeekStart)
	must(t, err)
	again, err := OpenReadOnly(f)
	must(t, err)
	must(t, f.Close())
	must(t, os.Remove("/file"))
	if text, err := io.ReadAll(again); err != nil || string(text) != "content" {
		t.Errorf("read %q, %v", text, err)
	}
	if _, err := again.Write([]byte("x")); !errors.Is(err, unix.EBADF) {
		t.Errorf("it can be written: %v", err)
	}
	_, byPath := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", again.Fd()), os.O_WRONLY, 0)
	for name, err := range map[string]error{
		"mode": again.Chmod(0o4755), "owner": again.Chown(1, 1), "times": unix.Futimes(int(again.Fd()), make([]unix.Timeval, 2)),
		"attribute": unix.Fsetxattr(int(again.Fd()), "user.x", []byte("x"), 0), "opened for writing": byPath,
	} {
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, again.Close())

	must(t, os.WriteFile("/file", nil, 0o600))
	reader, writer, err := os.Pipe()
	must(t, err)
	defer writer.Close()
	memory, err := unix.MemfdCreate("x", 0)
	must(t, err)
	for name, f := range map[string]*os.File{
		"for writing": open("/file", os.O_RDWR), "append": open("/file", os.O_WRONLY|os.O_APPEND), "path only": open("/file", unix.O_PATH),
		"folder": open("/dir", os.O_RDONLY), "FIFO": open("/fifo", os.O_RDONLY|unix.O_NONBLOCK), "pipe": reader,
		"memory": os.NewFile(uintptr(memory), "memory"),
	} {
		if _, err := OpenReadOnly(f); !errors.Is(err, ErrUnfit) {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
}

func TestRemoteFileSystems(t *testing.T) {
	for kind, want := range map[string]bool{"fuse.sshfs": true, "fuseblk": true, "nfs4": true, "9p": true, "ext4": false, "tmpfs": false, "overlay": false, "erofs": false} {
		if isRemote(kind) != want {
			t.Errorf("%s: %v", kind, !want)
		}
	}
}
