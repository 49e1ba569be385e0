package oneshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/runner"
	"keelson/testvm/nstest"
)

// state returns how many descriptors a process has, and its folder. Those of processes do not count: runc closes the
// ones that it has waited for by its garbage collector.
func state(t *testing.T, pid int) (descriptors int, dir string) {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if file, err := os.Readlink(link); err == nil && file != "anon_inode:[pidfd]" {
			descriptors++
		}
	}
	dir, err = os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return descriptors, dir
}

// One process runs containers one after another, until it cannot run one. It keeps nothing of them, and mixes nothing
// up: not their output, not their exit statuses, not their errors.
func TestRunner(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		o := options(t)
		var pid, descriptors, first, last int
		for i := range 40 {
			code := []int{0, 1, 77, 137}[i%4]
			b := container(t, fmt.Sprintf("%03d-c", i), fmt.Sprintf("echo out %d; echo err %[1]d >&2; exit %d", i, code), nil, boundRoot)
			if i%10 == 9 { // What cannot be run leaves nothing either.
				if err := os.Remove(b.Dir + "/config.json"); err != nil {
					t.Fatal(err)
				}
				if r := Run(t.Context(), b, o); !strings.Contains(r.Err, "config.json") {
					t.Errorf("container %d without a configuration: %+v", i, r)
				}
				pid, descriptors, first = 0, 0, i+1 // It has ended.
				continue
			}
			r := Run(t.Context(), b, o)
			if r.Err != "" || r.ExitCode != code {
				t.Errorf("container %d: %+v, want exit status %d", i, r, code)
			}
			for path, want := range map[string]string{r.Stdout: fmt.Sprintf("out %d\n", i), r.Stderr: fmt.Sprintf("err %d\n", i)} {
				if text, err := os.ReadFile(path); err != nil || string(text) != want {
					t.Errorf("container %d: %s has %q, %v, want %q", i, path, text, err, want)
				}
			}
			if o.Runner.current == nil {
				t.Fatalf("container %d has not run in the runner", i)
			}
			last = o.Runner.current.cmd.Process.Pid
			count, dir := state(t, o.Runner.current.cmd.Process.Pid)
			if i == first {
				pid = o.Runner.current.cmd.Process.Pid
			}
			if i == first+4 { // Go's poller and the like are there.
				descriptors = count
			}
			if now := o.Runner.current.cmd.Process.Pid; now != pid || dir != "/" || i > first+4 && count > descriptors {
				t.Errorf("container %d: process %d, before %d; folder %s; %d descriptors, before %d", i, now, pid, dir, count, descriptors)
			}
		}
		if left, _ := os.ReadDir("/run/runc"); len(left) != 0 {
			t.Errorf("%d containers are left", len(left))
		}
		o.Runner.Close()
		if err := unix.Kill(last, 0); err != unix.ESRCH {
			t.Errorf("the runner after the last container: %v", err)
		}
	})
}

// When the runner is killed, its container is removed and reported as killed, and the next one has another runner.
func TestRunnerKilled(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		o := options(t)
		before := 0
		for i := range 3 {
			o.Mirror = nil
			if r := Run(t.Context(), container(t, "000-c", "exit 5", nil, boundRoot), o); r.Err != "" || r.ExitCode != 5 {
				t.Fatalf("%+v", r)
			}
			pid := o.Runner.current.cmd.Process.Pid
			if pid == before {
				t.Error("a runner that was killed is used")
			}
			before = pid
			o.Mirror = func([]byte) { _ = unix.Kill(pid, unix.SIGKILL) }
			b := container(t, fmt.Sprintf("%03d-c", i), "echo ready; exec sleep 1000", nil, boundRoot)
			if r := Run(t.Context(), b, o); r.Err != "" || r.ExitCode != 137 || r.Signal != "SIGKILL" {
				t.Errorf("container %d: %+v", i, r)
			}
			if left, _ := os.ReadDir("/run/runc"); len(left) != 0 {
				t.Errorf("container %d still exists", i)
			}
		}
	})
}

// A runner that got a signal takes no further container: the signal may come when its container has just ended, and
// would stop the next one.
func TestRunnerSignaled(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		o := options(t)
		var before *runnerProcess
		for i := range 3 {
			r := Run(t.Context(), container(t, fmt.Sprintf("%03d-c", i), "exit 5", nil, boundRoot), o)
			if r.Err != "" || r.ExitCode != 5 || o.Runner.current == nil || o.Runner.current == before {
				t.Fatalf("container %d: %+v; runner %p, before %p", i, r, o.Runner.current, before)
			}
			before = o.Runner.current
			_ = (*served)(before).Signal(unix.SIGTERM)
		}
	})
}

// A runner is replaced before what it keeps of each container becomes much.
func TestRunnerLimit(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		o := options(t)
		b, used := container(t, "000-c", "exit 5", nil, boundRoot), map[*runnerProcess]int{}
		for i := range 2*runner.Limit + 1 {
			if r := Run(t.Context(), b, o); r.Err != "" || r.ExitCode != 5 || o.Runner.current == nil {
				t.Fatalf("container %d: %+v", i, r)
			}
			used[o.Runner.current]++
		}
		if len(used) != 3 || used[o.Runner.current] != 1 {
			t.Errorf("%d containers in %d runners, the last of which ran %d", 2*runner.Limit+1, len(used), used[o.Runner.current])
		}
	})
}

// A stop that comes before a container is there ends the runner, as it would end runc, also when the runner has run
// another container before.
func TestRunnerStopped(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		o := options(t)
		if r := Run(t.Context(), container(t, "000-c", "exit 0", nil, boundRoot), o); !r.OK() {
			t.Fatalf("%+v", r)
		}
		process := o.Runner.current
		b := container(t, "001-c", "exit 0", map[string]string{"keelson.stop.timeout": "1h"}, boundRoot)
		config := filepath.Join(b.Dir, "config.json")
		if err := os.Remove(config); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkfifo(config, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancelCause(t.Context())
		go func() {
			f, err := os.OpenFile(config, os.O_WRONLY, 0) // The runner reads, and will wait.
			if err == nil {
				defer f.Close()
			}
			end(errors.New("shutdown"))
			<-t.Context().Done()
		}()
		if r := Run(ctx, b, o); r.Err != "shutdown" || r.Signal != "SIGTERM" {
			t.Errorf("%+v", r)
		}
		if r := Run(t.Context(), container(t, "002-c", "exit 0", nil, boundRoot), o); !r.OK() || o.Runner.current == process {
			t.Errorf("after it: %+v", r)
		}
	})
}

// A runtime that cannot serve, or never answers, is asked once. All containers run nevertheless.
func TestOtherRuntime(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, answer := range []string{"exit 3", "exec sleep 1000", "exec cat <&3 >/dev/null"} {
			o := options(t)
			o.Runner.grace = 50 * time.Millisecond
			asked := t.TempDir() + "/asked"
			o.Runtime = script(t, fmt.Sprintf("case \"$*\" in serve-runs) echo >>%s; %s;; esac\nexec %s \"$@\"\n", asked, answer, o.Runtime))
			for i := range 2 {
				if r := Run(t.Context(), container(t, fmt.Sprintf("%03d-c", i), "exit 5", nil, boundRoot), o); r.Err != "" || r.ExitCode != 5 {
					t.Errorf("%s: %+v", answer, r)
				}
			}
			if text, _ := os.ReadFile(asked); string(text) != "\n" {
				t.Errorf("%s: asked %d times, want once", answer, len(text))
			}
		}
	})
}
