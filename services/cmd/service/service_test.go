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
		args, names string
	}{
		{"", ""},
		{"list", ""},
		{"list --json", ""},
		{"status redis --json", "redis"},
		{"start a", "a"},
		{"restart a b", "a b"},
		{"logs -f -n 3 redis", "redis"},
		{"boot --json", ""},
		{"reboot -f", ""},
		{"version", ""},
		{"swap web x.tar", "web x.tar"},
		{"swap -f -programs -probation 5s x.tar", "x.tar"},
		{"swap x.tar -programs -plan", "x.tar"},
		{"rollback -programs", ""},
		{"verify-programs /d sha256:0", "/d sha256:0"},
		{"security", ""},
		{"security --json web", "web"},
		{"supervise", ""},
		{"containerd", ""},
		{"unpack-module", ""},
		{"seccomp-filter /containers/onboot/000-x", "/containers/onboot/000-x"},
		{"-q start a", "a"},
		{"-v --containerd-namespace services.linuxkit stop a", "a"},
		{"start -sock /run/containerd/containerd.sock -path /containers/services a", "a"},
		{"restart a -path /containers/services", "a"},
	} {
		inv, _, err := parse(strings.Fields(c.args))
		if err != nil || strings.Join(inv.names, " ") != c.names {
			t.Errorf("%s: names %q, %v", c.args, inv.names, err)
		}
	}
}

// Each command takes its own flags. Errors name the command and what it takes.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		args, want, takes string
	}{
		{"list --bogus", "-bogus", "service list [--json]"},
		{"list -f", "-f", "service list [--json]"},
		{"list redis", `"redis"`, "service list [--json]"},
		{"-q", "list: -q", "service list [--json]"},
		{"-v status a", "-v", "service status [--json] NAME…"},
		{"status -n 3 a", "-n", "service status [--json] NAME…"},
		{"start", "no service", "service start [-sock PATH] [-path DIR] NAME…"},
		{"start --json a", "-json", "service start [-sock PATH] [-path DIR] NAME…"},
		{"start -v a", "-v", "service start [-sock PATH] [-path DIR] NAME…"},
		{"restart -f a", "-f", "service restart [-sock PATH] [-path DIR] NAME…"},
		{"logs -n x a", `"x"`, "service logs [-f] [-n LINES] [--since TIME]"},
		{"logs -path /x a", "-path", "service logs [-f] [-n LINES] [--since TIME]"},
		{"swap -programs", "no artifact", "service swap [-plan] [-f] NAME|-programs ARTIFACT|-"},
		{"swap -programs web x.tar", "2 services", "service swap [-plan] [-f] NAME|-programs ARTIFACT|-"},
		{"swap -probation 5s web x.tar", "-probation", "service swap [-plan] [-f] NAME|-programs ARTIFACT|-"},
		{"rollback -programs web", `"web"`, "service rollback [-plan] NAME|-programs"},
		{"remove -programs", "-programs", "service remove [-plan] NAME"},
		{"boot -n 3", "-n", "service boot [--json]"},
		{"poweroff now", `"now"`, "service poweroff [-f]"},
		{"-v poweroff", "-v", "service poweroff [-f]"},
		{"halt --json", "-json", "service halt [-f]"},
		{"security a b", "2 services", "service security [--json] [NAME]"},
		{"version redis", `"redis"`, "service version"},
		{"--containerd-namespace x version", "-containerd-namespace", "service version"},
		{"supervise -f", "-f", "service supervise"},
		{"containerd --log-level debug", "-log-level", "service containerd"},
		{"unpack-module x", `"x"`, "service unpack-module"},
		{"-q -v start a", "exclude each other", "usage: service"},
		{"--bogus list", "-bogus", "usage: service"},
		{"bogus", `"bogus"`, "usage: service"},
	} {
		_, _, err := parse(strings.Fields(c.args))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.takes) {
			t.Errorf("%s: %v, want an error with %s and %s", c.args, err, c.want, c.takes)
		}
	}
}

func TestUsageNamesAllCommands(t *testing.T) {
	for verb := range commands {
		if !strings.Contains(usage, verb) {
			t.Errorf("the usage does not name %s", verb)
		}
	}
}

// A socket that does not exist gives a hint.
func TestExplain(t *testing.T) {
	_, err := control.Call(t.Context(), filepath.Join(t.TempDir(), "no.sock"), control.Request{Verb: control.List})
	if err = explain(err); err == nil || !strings.Contains(err.Error(), "bind mount of /run") {
		t.Errorf("no socket: %v", err)
	}
	if err := explain(errors.New("no such file")); strings.Contains(err.Error(), "/run") {
		t.Errorf("another error: %v", err)
	}
}

func TestUsageErrorStatus(t *testing.T) {
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

// status shows the sockets that are kept for a service; list does not.
func TestShowSockets(t *testing.T) {
	services := []control.Service{{Name: "db"}, {Name: "web", Sockets: []string{"tcp:80", "unix:/run/web.sock"}}}
	for names, want := range map[string]string{"db web": "web: sockets tcp:80 unix:/run/web.sock\n", "": ""} {
		var out strings.Builder
		if err := showSockets(invocation{out: &out, names: strings.Fields(names)}, services); err != nil || out.String() != want {
			t.Errorf("%q: %q, %v; want %q", names, out.String(), err, want)
		}
	}
}
