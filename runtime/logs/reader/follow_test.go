package reader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/runtime/logs"
	"keelson/runtime/logs/index"
)

// follower reads a set that is followed.
func follower(t *testing.T, set Set, o Options) (next func() string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	got, done := make(chan string), make(chan error, 1)
	o.Follow = true
	go func() {
		for e, err := range set.Read(ctx, o) {
			if err != nil {
				done <- err
				return
			}
			select {
			case got <- show(e):
			case <-ctx.Done():
			}
		}
		done <- nil
	}()
	next = func() string {
		t.Helper()
		select {
		case line := <-got:
			return line
		case err := <-done:
			t.Fatalf("it ended: %v", err)
		case <-time.After(time.Minute):
			t.Fatal("no line comes")
		}
		return ""
	}
	stop = func() error { cancel(); return <-done }
	t.Cleanup(func() { cancel() })
	return next, stop
}

func add(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A log is followed across rotations and truncations, and logs that appear are read.
func TestFollow(t *testing.T) {
	set := system(t)
	dir := set.Folders[0]
	next, stop := follower(t, set, Options{Lines: 1})
	want := func(text string) {
		t.Helper()
		got := next()
		if _, line, _ := strings.Cut(got, " "); line != text {
			t.Fatalf("read %q, want %q", got, text)
		}
		if strings.HasPrefix(got, "<") && !strings.Contains(text, "new") {
			t.Errorf("the time of %q is not known", got)
		}
	}
	want("w5 \x1b[2Jx")
	web := filepath.Join(dir, "web.log")
	for i := range 3 {
		add(t, web, fmt.Sprintf("before %d\n", i))
		want(fmt.Sprintf("before %d", i))
		if err := os.Rename(web, web+".1"); err != nil {
			t.Fatal(err)
		}
		add(t, web, fmt.Sprintf("after %d\n", i))
		want(fmt.Sprintf("after %d", i))
	}
	add(t, filepath.Join(dir, "new.log"), "new 1\nnew ")
	want("new 1")
	add(t, filepath.Join(dir, "new.log"), "2\n")
	want("new 2")
	late := filepath.Join(dir, "none")
	if err := os.Mkdir(late, 0o700); err != nil {
		t.Fatal(err)
	}
	add(t, filepath.Join(late, "shutdown.000-x.log"), "new 3\n")
	want("new 3")
	if err := os.Truncate(web, 0); err != nil {
		t.Fatal(err)
	}
	add(t, filepath.Join(dir, "new.log"), "new 4\n") // The truncation has been seen.
	want("new 4")
	add(t, web, "cut\n")
	want("cut")
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Lines that come after a log was opened are no older than that, whether or not the end of
// the log was seen since.
func TestTimesBeforeFirstEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.log")
	add(t, path, "old\n")
	f, err := openFile(path, "web", "", &clock{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	opened := time.Now()
	if err := f.start(time.Time{}); err != nil {
		t.Fatal(err)
	}
	want := func(text string, bound bool) {
		t.Helper()
		e, ok, err := f.next()
		if err != nil || !ok || string(e.Text) != text || e.Bound != bound || !bound && e.Time.Before(opened) {
			t.Fatalf("read %q of %v, bound %v (%v, %v), want %q", e.Text, e.Time, e.Bound, ok, err, text)
		}
	}
	want("old", true)
	f.follow()
	add(t, path, "before\n")
	want("before", false)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	add(t, path, "after\n")
	want("after", false)
}

// Lines of the real copier have their times, also when they are followed across rotations.
func TestCopied(t *testing.T) {
	dir := t.TempDir()
	set := Set{Folders: []string{dir}}
	next, _ := follower(t, set, Options{})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var c logs.Copier
	defer c.Close()
	stream := c.Copy(r, logs.Options{Path: filepath.Join(dir, "web.log"), Limit: logs.MinLimit})
	pad := strings.Repeat("x", 1000)
	for i := range 100 {
		if _, err := fmt.Fprintf(w, "%d %s\n", i, pad); err != nil {
			t.Fatal(err)
		}
		if got := next(); !strings.HasSuffix(got, fmt.Sprintf(" %d %s", i, pad)) || strings.HasPrefix(got, "<") && i > 0 {
			t.Fatalf("line %d: %.100q", i, got)
		}
		if i%10 == 0 {
			time.Sleep(2 * index.Interval)
		}
	}
	w.Close()
	stream.Finish(time.Minute)
	n, last := 0, time.Time{}
	for e, err := range set.Read(t.Context(), Options{}) {
		if err != nil || e.Time.Before(last) || time.Since(e.Time) > time.Minute {
			t.Fatalf("%s: %v, %v after %v", e.Text, err, e.Time, last)
		}
		last = e.Time
		n++
	}
	if n < 30 {
		t.Errorf("%d lines are left", n)
	}
}
