package staging

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// nothing is enough for the programs of these tests, which read no artifact.
var nothing = strings.NewReader("")

// attempts returns what a child gets that tries to leave its confinement.
func attempts(t *testing.T, as string) map[string]string {
	t.Helper()
	o := options(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o.Args = []string{as, strconv.Itoa(l.Addr().(*net.TCPAddr).Port), strconv.Itoa(os.Getpid())}
	dir := t.TempDir()
	if _, err := Stage(t.Context(), o, dir, nothing); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// The rest of the confinement holds without the filter of system calls, which a kernel may
// not have.
func TestConfinement(t *testing.T) {
	got := attempts(t, "probe")
	want := map[string]string{
		"open /etc/passwd": "ENOENT", "open ../../etc/passwd": "ENOENT", "open /proc/self/status": "ENOENT",
		"make a device": "EPERM", "connect to loopback": "ENETUNREACH", "signal the parent": "ESRCH", "mount": "EPERM",
		"make a user namespace": "ENOSPC", "make a net namespace": "EPERM", "execute a new program": "EACCES",
		"gain a capability": "EPERM", "raise a limit": "EPERM", "give a file away": "done", "files": "",
		"bounding set": "0 1 3 4 31 ", "PID": "1", "no_new_privs": "1", "parent's end": "SIGKILL",
	}
	if landlock() {
		want["make a device"], want["make a FIFO"], want["make a socket"] = "EACCES", "EACCES", "EACCES"
		want["connect to loopback"] = "EACCES"
	}
	for name, result := range want {
		if got[name] != result {
			t.Errorf("%s: %q, want %q", name, got[name], result)
		}
	}
}

// The filter denies calls on all threads, and leaves what reading an artifact needs.
func TestFilterCalls(t *testing.T) {
	got := attempts(t, "filtered")
	for name, result := range map[string]string{
		"make a device": "EPERM", "make a FIFO": "EPERM", "make a socket": "EPERM", "connect to loopback": "EPERM",
		"signal the parent": "EPERM", "mount": "EPERM", "make a user namespace": "EPERM", "make a net namespace": "EPERM",
		"execute a new program": "EPERM", "gain a capability": "EPERM", "raise a limit": "EPERM", "give a file away": "done", "files": "",
		"start a thread": "done", "open a socket": "EPERM", "fork": "EPERM", "clone3": "ENOSYS", "bpf": "EPERM", "io_uring": "EPERM",
		"user faults": "EPERM", "a key": "EPERM", "a later call": "ENOSYS", "another thread's call": "EPERM",
	} {
		if got[name] != result {
			t.Errorf("%s: %q, want %q", name, got[name], result)
		}
	}
}

func landlock() bool {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return errno == 0 && version >= 4
}

func TestChildLeavesALink(t *testing.T) {
	o := options(t)
	o.Args = []string{"link"}
	dir := t.TempDir()
	_, err := Stage(t.Context(), o, dir, nothing)
	if err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("error %v", err)
	}
	wantEmpty(t, dir)
}

func TestContextEndsChild(t *testing.T) {
	o := options(t)
	o.Args = []string{"wait"}
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer r.Close()
	o.Progress = func(int64) { cancel() } // The child runs, and has taken something.
	go w.Write([]byte("x"))
	dir := t.TempDir()
	if _, err := Stage(ctx, o, dir, r); err == nil {
		t.Error("no error")
	}
	wantEmpty(t, dir)
}

// A child whose parent is killed before the child has asked for the signal of that ends.
func TestParentEndedFirst(t *testing.T) {
	o := options(t).withDefaults()
	endless, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer endless.Close()
	c, err := newChild(t.Context(), o, orders{Dir: t.TempDir(), Digest: true}, endless)
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	c.cmd.Stdout = write
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	if err := c.cmd.Wait(); err == nil { // It would read for ever.
		t.Error("the child succeeded")
	}
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("%s has %v", dir, entries)
	}
}
