package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/timeline"
	"keelson/testvm/tier"
)

func TestConsoles(t *testing.T) {
	for _, tt := range []struct{ in, want []string }{
		{nil, []string{"/dev/console"}},
		{[]string{"ttyS0,115200n8", "tty0", "ttyS0"}, []string{"/dev/ttyS0", "/dev/tty0"}},
		{[]string{"null", ""}, []string{"/dev/console"}},
		{[]string{"uart8250,io,0x3f8,9600n8", "hvc0"}, []string{"/dev/console", "/dev/hvc0"}},
		{[]string{"../etc/passwd"}, []string{"/dev/console"}},
	} {
		if got := Consoles(tt.in); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Consoles(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestAllDevicesGetAllMessages(t *testing.T) {
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "missing", "c")}
	for _, p := range paths[:2] {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := New(Options{Devices: paths, Timeline: filepath.Join(dir, "timeline")})
	c.Logger().With("service", "web").WithGroup("g").Info("up\nand away", "pid", 7, "why", "a b")
	c.Logger().Debug("not shown")
	e := timeline.Event{At: time.Second, Stage: timeline.Ready, Result: "1 services running"}
	c.Event(e)
	c.Raw([]byte("from a container"))
	closeInTime(t, c)
	c.Raw([]byte("after the end"))
	want := "keelson: up and away service=web g.pid=7 g.why=\"a b\"\nkeelson: " + e.String() + "\nfrom a container\n"
	for _, p := range paths[:2] {
		if got, err := os.ReadFile(p); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", filepath.Base(p), got, err, want)
		}
	}
	events, err := timeline.Read(filepath.Join(dir, "timeline"))
	if err != nil || !reflect.DeepEqual(events, []timeline.Event{e}) {
		t.Errorf("timeline contains %+v, %v", events, err)
	}
}

func TestSlogAttributes(t *testing.T) {
	for _, tt := range []struct {
		args []any
		want string
	}{
		{[]any{"a", ""}, ` a=""`},
		{[]any{"err", errors.New("no such file")}, ` err="no such file"`},
		{[]any{slog.Group("net", "if", "eth0", "up", true)}, ` net.if=eth0 net.up=true`},
		{[]any{"t", 1500 * time.Millisecond}, ` t=1.5s`},
		{[]any{slog.Attr{}}, ``},
		{[]any{"esc", "\x1b[2J"}, ` esc="\x1b[2J"`},
	} {
		r := slog.NewRecord(time.Time{}, slog.LevelInfo, "m", 0)
		r.Add(tt.args...)
		var b strings.Builder
		r.Attrs(func(a slog.Attr) bool { appendAttr(&b, "", a); return true })
		if b.String() != tt.want {
			t.Errorf("%v: got %q, want %q", tt.args, b.String(), tt.want)
		}
	}
}

// A console that hangs, here a pipe without reader, does not block the caller.
func TestStalledDeviceDoesNotBlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	c := New(Options{Devices: []string{path}})
	c.devices[0].stall = time.Hour // Who waits for the device waits for longer than the test.
	line := bytes.Repeat([]byte("x"), 1000)
	returns(t, func() {
		for range 5000 {
			c.Raw(line)
		}
	})
	go func() {
		_ = reader.SetReadDeadline(time.Now().Add(time.Minute))
		_, _ = io.Copy(io.Discard, reader)
	}()
	closeInTime(t, c)
}

func TestFlush(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := New(Options{Devices: []string{path}})
	for range 100 {
		c.Raw([]byte("line"))
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "line\n") != 100 {
		t.Errorf("%q, %v", text, err)
	}
	closeInTime(t, c)
	if err := c.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsWithContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	c := New(Options{Devices: []string{path}})
	c.Raw(bytes.Repeat([]byte("x"), 200<<10))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v, want the deadline", err)
	}
	<-c.done
}

// returns fails the test if f does not return.
func returns(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the caller is blocked")
	}
}

func closeInTime(t *testing.T, c *Console) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// A timeline whose file system hangs blocks neither the caller nor the console.
func TestStalledTimelineDoesNotBlock(t *testing.T) {
	dir := t.TempDir()
	hangs := make(chan struct{})
	c := New(Options{Devices: []string{filepath.Join(dir, "out")}, Timeline: filepath.Join(dir, "timeline")})
	if err := os.WriteFile(filepath.Join(dir, "out"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.record.append = func(string, timeline.Event) error { <-hangs; return nil }
	returns(t, func() {
		for range 2 * recordQueue {
			c.Event(timeline.Event{Stage: timeline.Ready})
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "write the timeline") {
		t.Errorf("Close: %v", err)
	}
	close(hangs)
	<-c.record.done
	<-c.done
	if got, err := os.ReadFile(filepath.Join(dir, "out")); err != nil || strings.Count(string(got), "ready") != 2*recordQueue {
		t.Errorf("the console shows %d events, %v", strings.Count(string(got), "ready"), err)
	}
}

// After a panic in a writer, only the message or event of the panic is lost.
func TestWritersSurvivePanic(t *testing.T) {
	dir := t.TempDir()
	panics := make(chan string, 2)
	c := New(Options{Devices: []string{filepath.Join(dir, "out")}, Timeline: filepath.Join(dir, "timeline"),
		Panicked: func(in string, _ any, stack []byte) {
			if len(stack) > 0 {
				panics <- in
			}
		}})
	c.mu.Lock()
	c.devices = append(c.devices, nil) // A nil device makes the writer panic.
	c.mu.Unlock()
	c.Raw([]byte("lost"))
	if in := <-panics; in != "console" {
		t.Errorf("panic reported in %s", in)
	}
	c.mu.Lock()
	c.devices = c.devices[:1]
	c.mu.Unlock()
	c.record.append = func(string, timeline.Event) error {
		c.record.append = timeline.Append
		panic("oh")
	}
	c.Event(timeline.Event{Stage: timeline.Ready})
	if in := <-panics; in != "timeline" {
		t.Errorf("panic reported in %s", in)
	}
	e := timeline.Event{Stage: timeline.Degraded}
	c.Event(e)
	closeInTime(t, c)
	if events, err := timeline.Read(filepath.Join(dir, "timeline")); err != nil || !reflect.DeepEqual(events, []timeline.Event{e}) {
		t.Errorf("timeline holds %+v, %v", events, err)
	}
}

// The kernel refuses a record that is too long, so it is shortened.
func TestCut(t *testing.T) {
	for text, want := range map[string]string{"short\n": "short\n", strings.Repeat("ä", 10): "äää…\n"} {
		if got := cut(text, 7); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	kmsg, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		tier.Skip(t, "needs the kernel log: %v", err)
	}
	defer kmsg.Close()
	if _, err := kmsg.WriteString(kmsgPriority + cut(strings.Repeat("x", 5000), recordLimit)); err != nil {
		t.Errorf("the kernel: %v", err)
	}
}
