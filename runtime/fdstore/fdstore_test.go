package fdstore

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/runtime/fdpass"
)

// TestMain makes the test binary a program that is started with a pair.
func TestMain(m *testing.M) {
	if os.Getenv(Variable) != "" {
		s, err := Inherited()
		fmt.Println("inherited", s != nil, err, os.Getenv(Variable))
		if s == nil {
			os.Exit(0)
		}
		data, files, err := s.Load()
		fmt.Printf("%q %d %v\n", data, len(files), err)
		fmt.Println(s.Put([]byte("child"), files))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func newPair(t *testing.T) *Pair {
	t.Helper()
	p, err := NewPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = p[0].Close(), p[1].Close() })
	return p
}

// file makes a file with content, and returns its descriptor.
func file(t *testing.T, content string) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// holds checks what a store holds: data, and one file for each content.
func holds(t *testing.T, p *Pair, data string, contents ...string) *Store {
	t.Helper()
	s := New(p)
	got, files, err := s.Load()
	if err != nil || string(got) != data || len(files) != len(contents) {
		t.Fatalf("it holds %q, %d files, %v; want %q, %d", got, len(files), err, data, len(contents))
	}
	defer fdpass.Close(files)
	for i, want := range contents {
		text := make([]byte, 100)
		n, err := unix.Pread(files[i], text, 0)
		if err != nil || string(text[:n]) != want {
			t.Errorf("file %d: %q, %v; want %q", i, text[:max(n, 0)], err, want)
		}
	}
	return s
}

// The last Put counts, for any number of programs one after the other, and no message is
// left over.
func TestStore(t *testing.T) {
	p := newPair(t)
	s := holds(t, p, "")
	a, b := file(t, "a"), file(t, "b")
	for i := range 50 {
		if err := s.Put(fmt.Appendf(nil, "data %d", i), []int{a, b}); err != nil {
			t.Fatal(err)
		}
	}
	fdpass.Close([]int{a, b}) // Only the store has them.
	for range 50 {
		s = holds(t, p, "data 49", "a", "b")
	}
	if err := s.Put([]byte("none"), nil); err != nil {
		t.Fatal(err)
	}
	holds(t, p, "none")
	if m, err := s.receive(0); err != nil || m == nil || string(m.bytes[headerSize:]) != "none" {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := s.receive(0); err != nil || m != nil {
		t.Errorf("a message is left: %+v, %v", m, err)
	}
	if err := s.Put(nil, make([]int, MaxFiles+1)); err == nil {
		t.Error("too many descriptors are stored")
	}
}

// A program may be killed between any two steps of Put and Load: the next one gets the
// newest content.
func TestInterrupted(t *testing.T) {
	for _, queue := range [][]uint64{
		{1}, {1, 2}, // in Put
		{1, 1}, {1, 2, 1}, {2, 1}, {2, 1, 2}, {1, 2}, {1, 2, 1, 1}, {2, 1, 1, 2}, // in Load
	} {
		p := newPair(t)
		newest := uint64(0)
		for _, generation := range queue {
			fd := file(t, fmt.Sprint(generation))
			m := &message{generation, append([]byte{byte(generation), 0, 0, 0, 0, 0, 0, 0}, fmt.Sprint("data ", generation)...), []int{fd}}
			if err := New(p).send(m); err != nil {
				t.Fatal(err)
			}
			m.close()
			newest = max(newest, generation)
		}
		for range 3 {
			s := holds(t, p, fmt.Sprint("data ", newest), fmt.Sprint(newest))
			if s.generation != newest {
				t.Errorf("%v: generation %d", queue, s.generation)
			}
		}
		if err := New(p).Put([]byte("old"), nil); err != nil { // Of a program that has not loaded.
			t.Fatal(err)
		}
	}
}

// A child gets the pair, and what it stores outlives it; its own children do not get it.
func TestInherited(t *testing.T) {
	p := newPair(t)
	if err := New(p).Put([]byte("parent"), []int{file(t, "x")}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	files, env := p.Files(3)
	cmd.Env, cmd.ExtraFiles = append(os.Environ(), env...), files
	out, err := cmd.CombinedOutput()
	if want := "inherited true <nil> \n\"parent\" 1 <nil>\n<nil>\n"; err != nil || string(out) != want {
		t.Errorf("%v: %s, want %s", err, out, want)
	}
	holds(t, p, "child", "x")
	for _, value := range []string{"3", "0,1", "5,5", "x", "900,901"} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), Variable+"="+value)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "inherited false") || strings.Contains(string(out), "<nil>") {
			t.Errorf("%s: %v: %s", value, err, out)
		}
	}
	if s, err := Inherited(); s != nil || err != nil {
		t.Error("there is a store without the variable")
	}
	var none *Pair
	if files, env := none.Files(3); files != nil || env != nil || none.Numbers() != nil || none.KeepOpen(true) != nil {
		t.Error("a nil pair has files")
	}
}

// A listening socket in the store accepts connections although no process has it open.
func TestListenerSurvives(t *testing.T) {
	p := newPair(t)
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	address := &unix.SockaddrUnix{Name: path}
	if err := unix.Bind(fd, address); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 8); err != nil {
		t.Fatal(err)
	}
	if err := New(p).Put(nil, []int{fd}); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	connect := func() error {
		client, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(client)
		return unix.Connect(client, address)
	}
	if err := connect(); err != nil {
		t.Error(err)
	}
	s := New(p)
	_, files, err := s.Load()
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if conn, _, err := unix.Accept(files[0]); err != nil {
		t.Error(err)
	} else {
		_ = unix.Close(conn)
	}
	fdpass.Close(files)
	if err := s.Put(nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := connect(); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after its end: %v", err)
	}
}
