package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/testvm/nstest"
)

func TestStateDir(t *testing.T) {
	for _, tt := range []struct{ args, start, create string }{
		{"runc --root /run/r --log l.json --log-format json start web", "/run/r/web", ""},
		{"runc --root /run/r create --bundle b web", "", "/run/r/web"},
		{"runc --root /run/r --systemd-cgroup create --bundle b --pid-file p start", "", "/run/r/start"},
		{"runc --root /run/r delete start", "", ""},
		{"runc --root /run/r delete create", "", ""},
		{"runc start web", "", ""},
		{"runc --root start web", "", ""},
		{"runc --root /run/r start", "", ""},
		{"runc --root create", "", ""},
		{"runc", "", ""},
	} {
		args := strings.Fields(tt.args)
		if start, create := stateDir(args, "start"), stateDir(args, "create"); start != tt.start || create != tt.create {
			t.Errorf("%s: start %q, create %q", tt.args, start, create)
		}
	}
}

func TestIsOwnRunc(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runc")
	if err := os.WriteFile(path, []byte("12345"), 0o755); err != nil {
		t.Fatal(err)
	}
	defer func(before string) { runcSize = before }(runcSize)
	for size, want := range map[string]bool{"": true, "5": true, "6": false} {
		if runcSize = size; isOwnRunc(path) != want {
			t.Errorf("size %q: %v", size, !want)
		}
	}
	if runcSize = "5"; isOwnRunc(path + "2") {
		t.Error("a runc that does not exist is accepted")
	}
}

// A container of the real runc runs after release, and not before.
func TestRelease(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		// The containers' processes must be children of this one, as they are of a shim.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		c := newContainer(t, "echo ran >/run/keelson-mark; exec sleep 1000")
		if c.marked() {
			t.Fatal("it ran before release")
		}
		if err := release(c.state); err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); !c.marked(); time.Sleep(time.Millisecond) {
			if time.Since(begin) > time.Minute {
				t.Fatal("it does not run after release")
			}
		}
		if got := c.runc("state", c.id); !strings.Contains(got, `"status": "running"`) {
			t.Errorf("state %s, want running", got)
		}
		if err := release(c.state); !errors.Is(err, unix.ENOENT) {
			t.Errorf("released twice: %v", err)
		}
	})
}

// release fails, and does not block, if the container does not wait.
func TestNothingToRelease(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		c := newContainer(t, "exec sleep 1000")
		if err := release(c.state + "2"); err == nil {
			t.Error("no error for a container that does not exist")
		}
		state, err := os.ReadFile(filepath.Join(c.state, "state.json"))
		if err != nil {
			t.Fatal(err)
		}
		pid, err := initPID(state)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := release(c.state); !errors.Is(err, errNotWaiting) && !errors.Is(err, unix.ESRCH) {
			t.Errorf("a container that was killed: %v", err)
		}
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
			t.Error(err)
		}
		// The process ID is that of another process, not a child of this one.
		text := strings.Replace(string(state), `"init_process_pid":`, `"init_process_pid":1,"x":`, 1)
		c.write(text)
		defer c.write(string(state)) // runc kills the process at the end.
		if err := release(c.state); !errors.Is(err, unix.ECHILD) {
			t.Errorf("a process that is not a child: %v", err)
		}
	})
}

// A container with poststart hooks is left to the runtime, which may run them at the start.
func TestHooksAreLeftToTheRuntime(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		for kind, want := range map[string]error{"poststart": errHooks, "poststop": nil} {
			c := newContainerWith(t, "exec sleep 1000", `"hooks":{"`+kind+`":[{"path":"/bin/true"}]},`)
			if err := release(c.state); !errors.Is(err, want) {
				t.Errorf("one with %s hooks: %v", kind, err)
			}
			c.runc("delete", "--force", c.id) // Both are in one cgroup.
		}
	})
}

type container struct {
	t               *testing.T
	id, root, state string
	bundle          string
}

// newContainer creates a container, which waits for its start.
func newContainer(t *testing.T, script string) *container {
	t.Helper()
	return newContainerWith(t, script, "")
}

// newContainerWith is newContainer with more fields in its configuration.
func newContainerWith(t *testing.T, script, fields string) *container {
	t.Helper()
	dir := t.TempDir()
	c := &container{t: t, id: "it", root: filepath.Join(dir, "runc"), bundle: filepath.Join(dir, "it")}
	c.state = filepath.Join(c.root, c.id)
	nstest.Bundle(t, c.bundle, script, nil, "")
	config := filepath.Join(c.bundle, "config.json")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte("{"+fields+string(text[1:])), 0o644); err != nil {
		t.Fatal(err)
	}
	c.runc("create", "--bundle", c.bundle, c.id)
	t.Cleanup(func() { c.runc("delete", "--force", c.id) })
	return c
}

// marked reports whether the script has run.
func (c *container) marked() bool {
	_, err := os.Stat(filepath.Join(c.bundle, "rootfs/run/keelson-mark"))
	return err == nil
}

func (c *container) write(state string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.state, "state.json"), []byte(state), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c *container) runc(args ...string) string {
	c.t.Helper()
	out := filepath.Join(c.t.TempDir(), "out") // The container keeps it open.
	f, err := os.Create(out)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(nstest.Runc(c.t), append([]string{"--root", c.root}, args...)...)
	cmd.Stdout, cmd.Stderr = f, f
	err = cmd.Run()
	text, _ := os.ReadFile(out)
	if err != nil {
		c.t.Fatalf("runc %v: %v: %s", args, err, text)
	}
	return string(text)
}
