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

	"keelson/testvm/nstest"
)

// A container that is ended gets its stop signal, and SIGKILL when it does not end.
func TestStop(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, runtime := range []string{boundRoot, withBind} {
			for _, tt := range []struct {
				trap, timeout string
				code          int
			}{{"exit 5", "1m", 5}, {"", "100ms", 137}} {
				script := "trap '" + tt.trap + "' TERM; echo ready; while :; do sleep 0.05; done"
				b := container(t, "000-hangs", script, map[string]string{"keelson.stop.timeout": tt.timeout}, runtime)
				ctx, end := context.WithCancelCause(t.Context())
				o := options(t)
				o.Mirror = func([]byte) { end(errors.New("shutdown")) } // The trap is set.
				if r := Run(ctx, b, o); r.Err != "shutdown" || r.ExitCode != tt.code {
					t.Errorf("%s: %+v, code %d, want %d", script, r, r.ExitCode, tt.code)
				}
			}
		}
	})
}

// A container that is ended before the runtime has returned from starting it gets its
// stop signal too.
func TestStopBeforeRuntimeReturns(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		b := container(t, "000-x", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done", nil, withBind)
		ctx, end := context.WithCancelCause(t.Context())
		o := options(t)
		o.Mirror = func([]byte) { end(errors.New("shutdown")) }
		o.Runtime = script(t, fmt.Sprintf("case \"$*\" in *' start '*) %s \"$@\"; exec sleep 1;; esac\nexec %[1]s \"$@\"\n", o.Runtime))
		if r := Run(ctx, b, o); r.Err != "shutdown" || r.ExitCode != 5 {
			t.Errorf("%+v, code %d", r, r.ExitCode)
		}
	})
}

// A timeout that expires while the runtime is still starting the container leaves
// nothing behind that would make the next attempt fail.
func TestTimeoutWhileStarting(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, runtime := range []string{boundRoot, withBind} {
			b := container(t, "000-x", "exec sleep 1000", map[string]string{"keelson.stop.timeout": "0s"}, runtime)
			o := options(t)
			for o.Timeout = time.Millisecond; o.Timeout < 50*time.Millisecond; o.Timeout += 3 * time.Millisecond {
				r := Run(t.Context(), b, o)
				if !strings.Contains(r.Err, "timeout after "+o.Timeout.String()) {
					t.Errorf("after %v: %+v", o.Timeout, r)
				}
				if left, _ := os.ReadDir("/run/runc"); len(left) != 0 {
					t.Fatalf("after %v: the container still exists", o.Timeout)
				}
			}
		}
	})
}

// A process that the runtime has left in the container's cgroup is killed before Run
// returns: no other container could be made there.
func TestTimeoutLeavesNoProcess(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		b := container(t, "000-x", "exec sleep 600", map[string]string{"keelson.stop.timeout": "0s"}, boundRoot)
		hierarchy := "/sys/fs/cgroup"
		if _, err := os.Stat(hierarchy + "/cgroup.procs"); err != nil {
			hierarchy += "/pids"
		}
		cgroup := filepath.Join(hierarchy, b.Cgroup(b.Name))
		left := filepath.Join(t.TempDir(), "left")
		o := options(t)
		o.Runtime = script(t, fmt.Sprintf(`case "$*" in *run*--bundle*) ;; *) exit 0;; esac
mkdir -p %[1]s
sh -c 'echo $$ >%[1]s/cgroup.procs; echo $$ >%[2]s.new; mv %[2]s.new %[2]s; exec sleep 600' &
until [ -e %[2]s ]; do sleep 0.01; done
while :; do sleep 0.01; done
`, cgroup, left))
		ctx, end := context.WithCancelCause(t.Context())
		go func() {
			for _, err := os.Stat(left); err != nil; _, err = os.Stat(left) {
				time.Sleep(10 * time.Millisecond)
			}
			end(errors.New("shutdown"))
		}()
		Run(ctx, b, o)
		pid, err := os.ReadFile(left)
		if err != nil {
			t.Fatal(err)
		}
		if procs, err := os.ReadFile(filepath.Join(cgroup, "cgroup.procs")); err != nil || len(procs) > 0 {
			t.Errorf("process %s was left: the cgroup has %q (%v)", pid, procs, err)
		}
		if err := os.Remove(cgroup); err != nil {
			t.Error(err)
		}
	})
}

// A runtime that has not created the container when the timeout expires may finish, and
// the container is killed then. A runtime that never finishes is killed.
func TestTimeoutBeforeRuntimeKnowsContainer(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, delay := range []string{"sleep 1", "exec sleep 600"} {
			b := container(t, "000-x", "exec sleep 600", map[string]string{"keelson.stop.timeout": "0s"}, boundRoot)
			o := options(t)
			o.Timeout = 50 * time.Millisecond
			o.Runtime = slowRuntime(t, o.Runtime, delay)
			start := time.Now()
			r := Run(t.Context(), b, o)
			if took := time.Since(start); took > 2*time.Minute || !strings.Contains(r.Err, "timeout after 50ms") {
				t.Errorf("%s: after %v: %+v", delay, took, r)
			}
			if left, _ := os.ReadDir("/run/runc"); len(left) != 0 {
				t.Errorf("%s: the container still exists", delay)
			}
		}
	})
}

// slowRuntime writes a runtime that ignores SIGTERM and waits before it runs a container.
func slowRuntime(t *testing.T, runtime, delay string) string {
	return script(t, fmt.Sprintf("trap '' TERM\ncase \"$*\" in *run*--bundle*) %s;; esac\nexec %s \"$@\"\n", delay, runtime))
}

// script writes a shell script and returns its path.
func script(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "runtime")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
