package probe

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/testvm/nstest"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// Lines of both logs arrive from the offset on, also when the logs are rotated.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	out, err := filepath.Join(dir, "x.out.log"), filepath.Join(dir, "x.log")
	write(t, out, "of the run before\n")
	var p Prober
	defer p.Close()
	lines := make(chan string, 100)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- p.Follow(Log{Path: out, Offset: 18}, Log{Path: err})(ctx, func(line []byte) bool {
			lines <- string(line)
			return string(line) == "end"
		})
	}()
	want := func(all ...string) {
		t.Helper()
		var got []string
		for range all {
			select {
			case l := <-lines:
				got = append(got, l)
			case <-ctx.Done():
				t.Fatalf("got %q, want %q", got, all)
			}
		}
		if !slices.Equal(got, all) {
			t.Fatalf("got %q, want %q", got, all)
		}
	}
	write(t, out, "one\r\ntw")
	want("one")
	write(t, err, strings.Repeat("x", 10000)+"\n")
	want(strings.Repeat("x", largestLine))
	for i := range 20 {
		write(t, out, fmt.Sprintf("o %d\nhal", i))
		if e := os.Rename(out, out+".1"); e != nil {
			t.Fatal(e)
		}
		write(t, out, "f\n")
		want(map[bool]string{true: "two 0", false: fmt.Sprintf("o %d", i)}[i == 0], "half")
	}
	write(t, out, "the longest\n")
	want("the longest")
	if e := os.Truncate(out, 0); e != nil {
		t.Fatal(e)
	}
	write(t, out, "end\n")
	want("end")
	if e := <-ended; e != nil {
		t.Error(e)
	}
}

func TestWaitForLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	var p Prober
	defer p.Close()
	c := Container{Lines: p.Follow(Log{Path: path})}
	probe := parsed("log:^ready to (accept|serve)")
	write(t, path, "not ready to accept\n")
	if err := p.Wait(t.Context(), probe, c, 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "no line matches") {
		t.Error(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { write(t, path, "ready to serve\n") })
	if err := p.Wait(t.Context(), probe, c, 10*time.Second); err != nil {
		t.Error(err)
	}
	if n := watched(&p.watches); n != 0 {
		t.Errorf("%d watches are left", n)
	}
	c.Lines = p.Follow(Log{Path: "/nonexistent/x.log"})
	if err := p.Wait(t.Context(), probe, c, 0); err == nil {
		t.Error("follows a log in a folder that does not exist")
	}
}

func watched(w *watches) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.byID)
}

func TestFollowWithoutInotify(t *testing.T) { nstest.WithoutInotify(t, "TestFollow", "TestWaitForLog") }
