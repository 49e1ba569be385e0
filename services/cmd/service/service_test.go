package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/testvm/nstest"
)

// LinuxKit's -path may be another path of the supervisor's folder, but no other folder.
func TestPathOfBundles(t *testing.T) {
	dir := t.TempDir()
	own, other := filepath.Join(dir, "own"), filepath.Join(dir, "other")
	for _, d := range []string{filepath.Join(own, "web"), filepath.Join(other, "web"), filepath.Join(other, "db")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("own", filepath.Join(dir, "bound")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		given, own, name string
		ok               bool
	}{
		{"", own, "web", true},
		{own + "/", own, "web", true},
		{filepath.Join(dir, "bound"), own, "web", true},
		{other, filepath.Join(dir, "unseen"), "web", true},
		{other, own, "web", false},
		{other, own, "db", false},
		{filepath.Join(dir, "unseen"), own, "web", false},
	} {
		if err := sameBundle(c.given, c.own, c.name); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The parts of a log are printed oldest first, whichever program rotated it.
func TestRotatedParts(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"x.log.10", "x.log.9", "x.log.0", "x.log.1", "x.log", "x.log.lost", "x.log.01", "x.log.-1", "x.log.", "xx.log.3"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	one := &tail{path: filepath.Join(dir, "x.log")}
	defer one.close()
	found, err := one.show(&out, 0)
	if want := "x.log.10\nx.log.9\nx.log.1\nx.log.0\nx.log\n"; err != nil || !found || out.String() != want {
		t.Errorf("%q, %v, %v", out.String(), found, err)
	}
	only := &tail{path: filepath.Join(dir, "xx.log")}
	if found, err := only.show(&out, 0); err != nil || !found {
		t.Errorf("a log with only an old part: %v, %v", found, err)
	}
}

func TestShowLastLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(path, []byte("one\ntwo\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{0: "one\ntwo\nthree\n", 1: "three\n", 2: "two\nthree\n", 9: "one\ntwo\nthree\n"} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := show(&out, f, n); err != nil || out.String() != want {
			t.Errorf("%d: %q, %v", n, out.String(), err)
		}
		f.Close()
	}
}

func TestIsInit(t *testing.T) {
	dir := t.TempDir()
	for target, want := range map[string]bool{"/init": true, "/usr/bin/init": false, "/init.sh": false} {
		link := filepath.Join(dir, strings.ReplaceAll(target, "/", "-"))
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if got := isInit(link); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
	if isInit(filepath.Join(dir, "none")) {
		t.Error("a link that does not exist counts as PID 1")
	}
}

// Each line is printed once, also when the log is rotated meanwhile.
func TestFollowAcrossRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	add := func(text string) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err == nil {
			_, err = f.WriteString(text)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add("one\n")
	log := &tail{path: path, diag: io.Discard}
	defer log.close()
	reader, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- follow(ctx, out, []*tail{log}) }()
	lines := bufio.NewScanner(reader)
	for i, text := range []string{"one", "two", "three", "four"} {
		if i > 0 {
			add(text + "\n")
		}
		if i%2 == 1 {
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
		}
		if !lines.Scan() || lines.Text() != text {
			t.Fatalf("read %q, want %q", lines.Text(), text)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFollowWithoutInotify(t *testing.T) { nstest.WithoutInotify(t, "TestFollowAcrossRotation") }

// Whoever follows more slowly than a log is rotated is told so.
func TestGapOfPlainLogs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	var out, diag strings.Builder
	log := &tail{path: path, diag: &diag}
	defer log.close()
	for i, rotations := range []int{0, 1, 3} {
		for range rotations {
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("line\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if i == 0 {
			if err := os.WriteFile(path, []byte("first\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.more(&out); err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(diag.String(), "x.log: lines may be lost"); told != (rotations > 1) {
			t.Errorf("after %d rotations: %q, output %q", rotations, diag.String(), out.String())
		}
	}
}
