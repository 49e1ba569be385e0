package console

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/testvm/tier"
)

// pty creates a pseudoterminal and returns its master end and the path of the terminal.
func pty(t *testing.T) (*os.File, string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return master, fmt.Sprintf("/dev/pts/%d", n)
}

// readUntil reads from f until word appears.
func readUntil(t *testing.T, f *os.File, word string) {
	t.Helper()
	var seen strings.Builder
	buffer := make([]byte, 1024)
	for deadline := time.Now().Add(time.Minute); !strings.Contains(seen.String(), word); {
		n, err := unix.Read(int(f.Fd()), buffer)
		if n > 0 {
			seen.Write(buffer[:n])
		}
		if err != nil { // EAGAIN, or EIO while the other end is not open
			time.Sleep(time.Millisecond)
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %q in %q, %v", word, seen.String(), err)
		}
	}
}

// The console opens a terminal again that was hung up for all processes. The kernel hangs
// a terminal up when the session that owns it ends; for a pseudoterminal, the test calls
// vhangup(2) as a getty does.
func TestHangup(t *testing.T) {
	const mark = "KEELSON_TEST_HANGUP"
	if os.Getenv(mark) != "" {
		_, _, _ = syscall.RawSyscall(unix.SYS_VHANGUP, 0, 0, 0) // The test checks the effect.
		os.Exit(0)
	}
	tier.Root(t)
	master, path := pty(t)
	c := New(Options{Devices: []string{path}, Timeline: filepath.Join(t.TempDir(), "timeline")})
	defer closeInTime(t, c)
	c.Raw([]byte("before"))
	readUntil(t, master, "before")
	tty, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	getty := exec.Command("/proc/self/exe", "-test.run=^TestHangup$")
	getty.Env = append(os.Environ(), mark+"=1")
	getty.Stdin = tty
	getty.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	_ = getty.Run() // The hangup may end it.
	if _, err := tty.Write([]byte("x")); err == nil {
		t.Fatal("the terminal was not hung up")
	}
	for _, text := range []string{"after", "and later"} {
		c.Raw([]byte(text))
		readUntil(t, master, text)
	}
}

// A device that appears late gets the earlier messages, up to a limit. Messages for a
// device that has disappeared are lost.
func TestLateDevice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hvc0")
	d := newDevice(path)
	d.write("one\n")
	d.write(strings.Repeat("x", keptLimit))
	d.write("two\n")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.write("three\n")
	d.close()
	if err := os.Rename(path, path+".gone"); err != nil {
		t.Fatal(err)
	}
	d.write("lost\n")
	if got, err := os.ReadFile(path + ".gone"); err != nil || string(got) != "one\ntwo\nthree\n" || len(d.kept) > 0 {
		t.Errorf("%q, %v; %d bytes are kept", got, err, len(d.kept))
	}
}

// Standard output can be the console, also if it is a socket, which cannot be opened by
// its path.
func TestStdoutOfAnyKind(t *testing.T) {
	if os.Getenv("KEELSON_TEST_STDOUT") != "" {
		c := New(Options{Devices: []string{Stdout}})
		c.Raw([]byte("said"))
		closeInTime(t, c)
		os.Exit(0)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	for name, ends := range map[string][2]*os.File{
		"socket": {os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket")},
		"pipe":   {reader, writer}, "file": {file, file},
	} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestStdoutOfAnyKind$")
		cmd.Env = append(os.Environ(), "KEELSON_TEST_STDOUT=1")
		cmd.Stdout = ends[1]
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if ends[0] == ends[1] {
			_, _ = ends[0].Seek(0, io.SeekStart)
		} else {
			ends[1].Close()
		}
		if got, err := io.ReadAll(ends[0]); err != nil || string(got) != "said\n" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		ends[0].Close()
	}
}
