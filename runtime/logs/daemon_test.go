package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/logs/logstest"
)

// Lines of a stream that was sent to the daemon can be fetched from its query socket, and
// the daemon sees the end of the stream.
func TestSendAndFetch(t *testing.T) {
	dir := t.TempDir()
	socket, query := filepath.Join(dir, "log"), filepath.Join(dir, "query")
	if External(socket) {
		t.Error("External is true without a daemon")
	}
	daemon := logstest.Start(t, socket, query)
	if !External(socket) {
		t.Error("External is false with a daemon")
	}
	follow, err := net.Dial("unix", query)
	if err != nil {
		t.Fatal(err)
	}
	defer follow.Close()
	if _, err := follow.Write([]byte{2}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"onboot.000-a", "onboot.000-a.out"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := SendToDaemon(socket, name, int(r.Fd())); err != nil {
			t.Fatal(err)
		}
		r.Close()
		fmt.Fprintf(w, "one;%s\ntwo", name)
		w.Close()
		if got := daemon.Ended(t, name, 1); !reflect.DeepEqual(got, []string{"one;" + name, "two"}) {
			t.Errorf("%s: %q", name, got)
		}
	}
	text, err := Fetch(query, 1<<20, "onboot.000-a.out")
	if err != nil || string(text) != "one;onboot.000-a.out\ntwo\n" {
		t.Errorf("fetched %q, %v", text, err)
	}
	if line, err := bufio.NewReader(follow).ReadString('\n'); err != nil || !strings.HasSuffix(line, ",onboot.000-a;one;onboot.000-a\n") {
		t.Errorf("followed %q, %v", line, err)
	}
}

// If no daemon listens, or it does not answer, there is an error in time.
func TestDaemonThatDoesNotAnswer(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "log")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	begin := time.Now()
	for i := 0; err == nil && i < 10000; i++ { // until its queue is full
		err = SendToDaemon(socket, "x", int(r.Fd()))
	}
	if took := time.Since(begin); err == nil || took > time.Minute {
		t.Errorf("%v after %v", err, took)
	}
	l.Close()
	if err := SendToDaemon(socket, "x", int(r.Fd())); err == nil {
		t.Error("no error without a daemon")
	}
	silent, err := net.Listen("unix", filepath.Join(dir, "query"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := Fetch(filepath.Join(dir, "query"), 1, "x"); err == nil {
		t.Error("no error from a daemon that does not answer")
	}
}

func TestReadEndWaitsForWriter(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := MakeFIFO(fifo); err != nil {
		t.Fatal(err)
	}
	// Without a writer, no goroutine remains.
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := OpenReadEnd(ctx, fifo); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines, %d before", now, before)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		w, _ := os.OpenFile(fifo, os.O_WRONLY, 0)
		fmt.Fprint(w, "came")
		w.Close()
	}()
	fd, err := OpenReadEnd(t.Context(), fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	b := make([]byte, 10)
	if n, err := unix.Read(fd, b); err != nil || string(b[:n]) != "came" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

func TestMakeFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFIFO(path); err == nil {
		t.Error("no error for a file in place of the FIFO")
	}
	if err := MakeFIFO(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeNamedPipe|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestParseLine(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]Line{
		"2026-01-02T03:04:05Z,redis;hello, world;\n":                                  {at, "redis", "hello, world;"},
		`{"time":"2026-01-02T03:04:05Z","source":"redis.out","msg":"a \"b\""}` + "\n": {at, "redis.out", `a "b"`},
		`{"time":"x","source":"redis.out","msg":"a"}`:                                 {time.Time{}, "redis.out", "a"},
		"rubbish":      {},
		"time;text":    {},
		"time,;text":   {},
		`{"source":1}`: {},
		"":             {},
	} {
		line, ok := parseLine(text)
		if ok != (want != Line{}) || ok && line != want {
			t.Errorf("%q: %+v, %v", text, line, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("2026-01-02T03:04:05Z,a;hello\n{\"source\":\"a\",\"msg\":\"x\"}\n")
	f.Add(strings.Repeat("x", 2*lineLimit))
	f.Fuzz(func(t *testing.T, answer string) {
		err := parse(strings.NewReader(answer), func(l Line) bool {
			if l.Name == "" || len(l.Text) > 3*lineLimit {
				t.Errorf("%+v", l)
			}
			return true
		})
		if err != nil {
			t.Error(err)
		}
	})
}
