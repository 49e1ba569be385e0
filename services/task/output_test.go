package task

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
	"keelson/runtime/logs/logstest"
)

// newOutputs returns outputs beside a logging daemon.
func newOutputs(t *testing.T) (*outputs, *logstest.Reader) {
	t.Helper()
	dir := t.TempDir()
	o := &outputs{
		fifos: filepath.Join(dir, "fifos"), logs: filepath.Join(dir, "logs"), socket: filepath.Join(dir, "socket"),
		logger: slog.New(slog.DiscardHandler),
	}
	return o, logstest.Start(t, o.socket, filepath.Join(dir, "query"))
}

// shimOpens opens a FIFO as a shim does: by name, first to write and then to read.
func shimOpens(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// untilHanded waits until the daemon has a stream.
func untilHanded(t *testing.T, out *output, i int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); len(out.handed[i]) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the stream is never handed over")
		}
	}
}

// A FIFO exists until Created: the shim opens it a second time after the daemon has
// received its read end.
func TestHandedPathStaysUntilCreated(t *testing.T) {
	o, daemon := newOutputs(t)
	out := o.open(OutputOf{Service: "web"}).(*output)
	defer out.Close()
	paths := []string{out.Stderr(), out.Stdout()}
	for i, path := range paths {
		w := shimOpens(t, path, os.O_WRONLY)
		untilHanded(t, out, i)
		r := shimOpens(t, path, os.O_RDONLY)
		if _, err := w.WriteString("said\n"); err != nil {
			t.Fatal(err)
		}
		r.Close()
		w.Close()
	}
	out.Created(t.Context())
	for i, path := range paths {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s after the create: %v", path, err)
		}
		if got := daemon.Ended(t, "web"+streamSuffix[i], 1); !reflect.DeepEqual(got, []string{"said"}) {
			t.Errorf("the daemon has %q", got)
		}
	}
}

// A shim that remains of a failed attempt is not mistaken for the shim of the next attempt,
// in the same supervisor or in the next one.
func TestLeftoverShimGetsNoReader(t *testing.T) {
	o, daemon := newOutputs(t)
	first := o.open(OutputOf{Service: "web", Terminal: true}).(*output)
	shimOpens(t, first.Stdout(), os.O_RDWR)
	untilHanded(t, first, 1)
	left := first.Stdout()
	first.Again()
	if _, err := os.Lstat(left); !os.IsNotExist(err) {
		t.Errorf("the FIFO of the attempt before: %v", err)
	}
	shimOpens(t, first.Stdout(), os.O_RDWR)
	untilHanded(t, first, 1)
	left = first.Stdout()

	next := (&outputs{fifos: o.fifos, logs: o.logs, socket: o.socket, logger: o.logger}).open(first.of).(*output)
	defer next.Close()
	if _, err := os.Lstat(left); !os.IsNotExist(err) {
		t.Errorf("the FIFO of the supervisor before: %v", err)
	}
	w := shimOpens(t, next.Stdout(), os.O_WRONLY)
	if _, err := w.WriteString("of the last\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if got := daemon.Ended(t, "web.out", 1); !reflect.DeepEqual(got, []string{"of the last"}) {
		t.Errorf("the daemon has %q", got)
	}
}

// A log that is probed is written to a file, even if there is a logging daemon.
func TestProbedLogIsNotHandedOver(t *testing.T) {
	o, _ := newOutputs(t)
	for kind, handed := range map[string]bool{"": true, "tcp": true, "log": false} {
		for _, settings := range []bundle.Settings{{Ready: bundle.Probe{Kind: kind}}, {Health: bundle.Probe{Kind: kind}}} {
			out := o.open(OutputOf{Service: "web", Settings: settings}).(*output)
			if out.handing != handed || strings.Contains(out.Stdout(), handedMark) != handed {
				t.Errorf("%q: handed over %v, to %s", kind, out.handing, out.Stdout())
			}
			out.Close()
		}
	}
}

// A container that runs beside another one of the service writes the same log, which ends
// with the last of them.
func TestJoinedOutput(t *testing.T) {
	dir := t.TempDir()
	o := &outputs{fifos: filepath.Join(dir, "fifos"), logs: filepath.Join(dir, "logs"), socket: filepath.Join(dir, "none"), logger: slog.New(slog.DiscardHandler)}
	if err := os.Mkdir(o.logs, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(out Output, text string) {
		t.Helper()
		if _, err := shimOpens(t, out.Stdout(), os.O_WRONLY).WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	first := o.open(OutputOf{Service: "web"})
	second := o.open(OutputOf{Service: "web", Beside: true})
	if second.Stdout() != first.Stdout() || second.Stderr() != first.Stderr() {
		t.Fatalf("FIFOs %s, %s", first.Stdout(), second.Stdout())
	}
	write(first, "first\n")
	first.Close()
	first.Close() // It counts once.
	write(second, "second\n")
	next := make(chan Output)
	go func() { next <- o.open(OutputOf{Service: "web"}) }()
	select {
	case <-next:
		t.Fatal("the next life writes while the second container does")
	default:
	}
	second.Close()
	second.Close()
	third := <-next
	third.Close()
	text, err := os.ReadFile(filepath.Join(o.logs, "web.out.log"))
	if err != nil || string(text) != "first\nsecond\n" {
		t.Errorf("%q, %v", text, err)
	}
	alone := o.open(OutputOf{Service: "web", Beside: true})
	if alone.Stdout() != "" {
		t.Errorf("FIFO %s that nothing reads", alone.Stdout())
	}
	alone.Close()
}
