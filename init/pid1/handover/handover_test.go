package handover

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var relevant = Signals{Caught: []os.Signal{unix.SIGUSR1, unix.SIGTERM}, Held: []os.Signal{unix.SIGUSR2}}

// stage is the environment variable with the stage of TestExec that this process runs.
const stage = "KEELSON_TEST_HANDOVER"

func TestMain(m *testing.M) {
	switch os.Getenv(stage) {
	case "first":
		first()
	case "second":
		second()
	default:
		os.Exit(m.Run())
	}
}

// first replaces this program by itself, after an attempt that fails.
func first() {
	incoming := make(chan os.Signal, 1)
	signal.Notify(incoming, unix.SIGUSR1, unix.SIGUSR2)
	h, err := New()
	check(err)
	caught, err := h.Exec("/does/not/exist", relevant, func() ([]byte, error) {
		check(unix.Kill(os.Getpid(), unix.SIGTERM))
		awaitCaught(h, unix.SIGTERM)
		return []byte("lost"), nil
	})
	if !errors.Is(err, unix.ENOENT) || !reflect.DeepEqual(caught, []syscall.Signal{unix.SIGTERM}) {
		check(fmt.Errorf("failed attempt: %v, signals %v", err, caught))
	}
	check(os.Setenv(stage, "second"))
	_, err = h.Exec("/proc/self/exe", relevant, func() ([]byte, error) {
		check(unix.Kill(os.Getpid(), unix.SIGUSR1))
		awaitCaught(h, unix.SIGUSR1)
		h.Note("a note of more than 16 bytes")
		return fmt.Appendf(nil, "from %d", os.Getpid()), nil
	})
	check(err)
}

// second prints what it has received.
func second() {
	inherited := Inherited()
	r, err := Load()
	check(err)
	_, again := os.LookupEnv(variable)
	fmt.Printf("inherited %v, again %v, %q, %q, %v, same process %v", inherited, again, r.Payload, r.Note, r.Caught,
		string(r.Payload) == fmt.Sprint("from ", os.Getpid()))
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// awaitCaught waits until handler has recorded a signal.
func awaitCaught(h *Handover, sig syscall.Signal) {
	for h.caught()[sig] == 0 {
		time.Sleep(time.Millisecond)
	}
}

// Exec passes payload, note and signals to the new program in the same process, also
// after an attempt that failed.
func TestExec(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), stage+"=first")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := strings.Replace(string(out), fmt.Sprintf("from %d", cmd.Process.Pid), "from PID", 1)
	const want = `inherited true, again false, "from PID", "a note of more t", [user defined signal 1], same process true`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// If there is no payload, or if it is too large, Exec fails and the handover is not valid.
func TestExecWithoutPayload(t *testing.T) {
	h, err := New()
	if err != nil {
		t.Fatal(err)
	}
	bad := errors.New("bad")
	if _, err := h.Exec("/proc/self/exe", relevant, func() ([]byte, error) { return nil, bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
	if _, err := h.Exec("/proc/self/exe", relevant, func() ([]byte, error) { return make([]byte, PayloadMax+1), nil }); err == nil {
		t.Error("no error for a payload that is too large")
	}
	if string(h.page[:noteAt]) == magic {
		t.Error("a handover without payload is valid")
	}
}

// After catch, signals are recorded and do not reach the Go runtime; after restore, they
// reach it again.
func TestCatch(t *testing.T) {
	incoming := make(chan os.Signal, 8)
	signal.Notify(incoming, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM)
	defer signal.Stop(incoming)
	h, err := New()
	if err != nil {
		t.Fatal(err)
	}
	restore, err := catch(relevant.Caught, h.caught())
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGTERM} {
			if err := unix.Kill(os.Getpid(), sig); err != nil {
				t.Error(err)
			}
		}
	}
	awaitCaught(h, unix.SIGUSR1)
	awaitCaught(h, unix.SIGTERM)
	if got := numbers(h.caught()); !reflect.DeepEqual(got, []syscall.Signal{unix.SIGUSR1, unix.SIGTERM}) {
		t.Errorf("caught %v", got)
	}
	if len(incoming) > 0 {
		t.Errorf("the runtime received %v", <-incoming)
	}
	restore()
	if err := unix.Kill(os.Getpid(), unix.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	for <-incoming != unix.SIGUSR2 { // Another signal may still have been pending.
	}
}

// file returns the content of a valid handover.
func file(t testing.TB, payload, note string, caught ...syscall.Signal) []byte {
	t.Helper()
	rest, err := encode([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, headAt)
	copy(data, magic)
	copy(data[noteAt:], note)
	for _, sig := range caught {
		data[caughtAt+int(sig)] = 1
	}
	return append(data, rest...)
}

func TestDecode(t *testing.T) {
	for _, want := range []Received{
		{Payload: []byte("payload")}, {Payload: []byte{}}, {Payload: []byte("x"), Note: "halt"},
		{Payload: []byte("x"), Note: "sixteen bytes...", Caught: []syscall.Signal{unix.SIGHUP, unix.SIGUSR2}},
	} {
		data := append(file(t, string(want.Payload), want.Note, want.Caught...), 0, 0) // The file may be longer: its minimum is a page.
		if got, err := decode(data); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
}

func TestDecodeCorrupt(t *testing.T) {
	good := file(t, "payload", "")
	for name, data := range map[string][]byte{
		"empty": nil, "short": good[:payloadAt-1], "incomplete": good[:len(good)-1], "another magic": append([]byte("x"), good[1:]...),
	} {
		if _, err := decode(data); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range good {
		if i >= noteAt && i < headAt {
			continue // The checksum does not cover the slots.
		}
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := decode(bad); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d was changed: %v", i, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(file(f, "payload", "halt", unix.SIGTERM))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decode(data)
		if err != nil {
			return
		}
		for _, sig := range r.Caught {
			if sig < 0 || int(sig) >= caughtMax {
				t.Errorf("signal %d", sig)
			}
		}
		again, err := decode(file(t, string(r.Payload), r.Note, r.Caught...))
		if err != nil || !bytes.Equal(again.Payload, r.Payload) || again.Note != r.Note || !reflect.DeepEqual(again.Caught, r.Caught) {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}

// The environment variable alone, which the kernel command line can set, is not a
// handover.
func TestNotInherited(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, value := range []string{"", "x", "-1", "0", "1", "99999", fmt.Sprint(f.Fd())} {
		t.Setenv(variable, value)
		if _, err := Load(); Inherited() || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", value, err)
		}
	}
	var none *Handover
	none.Note("halt")
}
