package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/control"
	"keelson/testvm/nstest"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args  string
		names string
		ok    bool
	}{
		{"list", "", true},
		{"list --json", "", true},
		{"status redis --json", "redis", true},
		{"restart a b", "a b", true},
		{"logs -f -n 3 redis", "redis", true},
		{"logs", "", false},
		{"logs a b", "", false},
		{"poweroff now", "", false},
		{"reboot -f", "", true},
		{"start", "", false},
		{"list --bogus", "", false},
		{"list -f", "", false},
		{"boot -n 3", "", false},
		{"start --json a", "", false},
		{"", "", true},
		{"-q", "", true},
		{"-q start a", "a", true},
		{"-v --containerd-namespace services.linuxkit stop a", "a", true},
		{"-q -v start a", "", false},
		{"start -sock /run/containerd/containerd.sock -path /containers/services a", "a", true},
		{"restart a -path /containers/services", "a", true},
		{"version", "", true},
		{"version redis", "", false},
		{"bogus", "", false},
	} {
		inv, _, err := parse(strings.Fields(c.args))
		if (err == nil) != c.ok || c.ok && strings.Join(inv.names, " ") != c.names {
			t.Errorf("%s: %+v, %v", c.args, inv, err)
		}
	}
}

func TestUsageErrorsHaveTheirStatus(t *testing.T) {
	code, err := run(t.Context(), []string{"bogus"}, &bytes.Buffer{})
	if code != control.CodeUsage || err == nil {
		t.Fatalf("%d, %v", code, err)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"help", "-h", "--help", "start -h", "-q help"} {
		var out bytes.Buffer
		if code, err := run(t.Context(), strings.Fields(args), &out); code != control.CodeOK || err != nil || out.String() != usage {
			t.Errorf("%s: %d, %v: %s", args, code, err, out.String())
		}
	}
}

// LinuxKit's -path may be the supervisor's own folder by another name, and
// nothing else.
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

// The parts of a log come the oldest first, whoever rotated it.
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
		t.Errorf("a log of which an old part is left: %v, %v", found, err)
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

func TestSince(t *testing.T) {
	now := time.Unix(1e9, 0)
	for want, ago := range map[string]time.Duration{"0.5s": 500 * time.Millisecond, "1m5s": 65 * time.Second, "3d": 75 * time.Hour, "0.0s": -time.Hour} {
		if got := since(now.Add(-ago), now); got != want {
			t.Errorf("%v: %s", ago, got)
		}
	}
}

func TestFailedOnboot(t *testing.T) {
	onboot := func(name, result, note string) timeline.Event {
		return timeline.Event{Stage: timeline.Onboot, Name: name, Result: result, Took: time.Second, Note: note}
	}
	gone := onboot("003-d", "exited 1", "2 attempts failed, continuing (by default)")
	broken := onboot("001-b", "failed: no such file", "continuing (keelson.on-failure=continue)")
	got := failedOnboot([]timeline.Event{
		onboot("000-a", "exited 0", ""), broken,
		onboot("002-c", "exited 3", "attempt 2 of 2 in 1s (keelson.retries=1)"), onboot("002-c", "exited 0", "it took 2 attempts"),
		onboot("003-d", "exited 1", "attempt 2 of 2 in 1s (keelson.retries=1)"), gone,
		{Stage: timeline.Service, Name: "x", Result: "failed: y", Note: "z"},
	})
	if !slices.Equal(got, []timeline.Event{broken, gone}) {
		t.Errorf("%v", got)
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
		t.Error("nothing is taken for PID 1")
	}
}

// What is rotated away meanwhile is not left out, and nothing comes twice.
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
	log := &tail{path: path}
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
