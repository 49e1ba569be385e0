package task

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake())
		r.runner.Launch(r.ctx, r.spec)
		r.want(t, "create, start", "Mounted, Started")
		r.exit <- 3
		r.want(t, "create, start, delete", "Mounted, Started, Ended, exited 3")
	})
}

// When a container cannot be started, its remains are removed before the failure is
// reported.
func TestNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.create = errors.New("no such file")
		r := newRig(t, f)
		r.runner.Launch(r.ctx, r.spec)
		r.want(t, "create, delete", "Mounted, NotStarted, no such file")
	})
}

// A start that is aborted while containerd makes the task waits for the task, and does not
// start it.
func TestAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.takes = time.Second
		r := newRig(t, f)
		task := r.runner.Launch(r.ctx, r.spec)
		synctest.Wait()
		task.Abort()
		r.want(t, "create", "Mounted")
		time.Sleep(f.takes)
		r.want(t, "create, delete", "Mounted, NotStarted, context canceled")
	})
}

// The end of the process counts when neither containerd nor the shim reports it.
func TestUnreportedEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.silent = true
		r := newRig(t, f)
		r.runner.Launch(r.ctx, r.spec)
		synctest.Wait()
		close(f.gone)
		time.Sleep(2*reportTime + time.Second)
		r.want(t, "create, start, ping, kill shim", "Mounted, Started")
		time.Sleep(reportTime)
		r.want(t, "create, start, ping, kill shim", "Mounted, Started, Ended, exited, status unknown")
	})
}

// At shutdown the wait for containerd and the shim is short.
func TestUnreportedEndAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.silent = true
		r := newRig(t, f)
		r.runner.Launch(r.ctx, r.spec)
		close(r.down)
		synctest.Wait()
		close(f.gone)
		time.Sleep(downTime)
		r.want(t, "create, start", "Mounted, Started, Ended, exited, status unknown")
	})
}

// A container that ends because the machine does is not removed, unless it has poststop
// hooks, which a removal runs. In userspace mode, and when the machine does not end, it is.
func TestRemovalAtShutdown(t *testing.T) {
	hooks := &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/true"}}}
	for name, c := range map[string]struct {
		machine, down bool
		hooks         *specs.Hooks
		removed       bool
	}{
		"machine":                       {true, true, nil, false},
		"machine with other hooks":      {true, true, &specs.Hooks{Poststart: hooks.Poststop}, false},
		"machine with poststop hooks":   {true, true, hooks, true},
		"machine that does not end":     {true, false, nil, true},
		"shutdown in userspace mode":    {false, true, nil, true},
		"end of a service in that mode": {false, false, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.machine = c.machine
				r := newRig(t, f)
				r.spec.Bundle.Spec.Hooks = c.hooks
				r.runner.Launch(r.ctx, r.spec)
				synctest.Wait()
				if c.down {
					close(r.down)
				}
				r.exit <- 0
				want := "create, start"
				if c.removed {
					want += ", delete"
				}
				r.want(t, want, "Mounted, Started, Ended, exited 0")
			})
		})
	}
}

// Of a container that is not removed at shutdown, no process outlives the report of its end:
// some may be in cgroups of other services' containers, out of sight of the runtime.
func TestOthersAreKilledAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.machine = true
		r := newRig(t, f)
		r.spec.Placement.Outer = true
		r.runner.Launch(r.ctx, r.spec)
		synctest.Wait()
		close(r.down)
		r.exit <- 0
		r.want(t, "create, start, kill but [/other]", "Mounted, Started, Ended, exited 0")
	})
}

// A process that outlives the report of its end, as when its shim was killed, is killed,
// and the end is reported when it has ended.
func TestSurvivorIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.survives = true
		r := newRig(t, f)
		r.runner.Launch(r.ctx, r.spec)
		synctest.Wait()
		f.exit <- 137
		time.Sleep(goneTime)
		r.want(t, "create, start, kill but [/other]", "Mounted, Started")
		close(f.gone)
		r.want(t, "create, start, kill but [/other], delete", "Mounted, Started, Ended, killed by SIGKILL")
	})
}

func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake())
		record := Record{LogAt: [2]int64{3, 4}, NotifyAt: "@web", Cgroup: "/web"}
		task := r.runner.Adopt(r.ctx, r.spec, 1<<30, &record)
		if got := task.Record(); got != record {
			t.Errorf("record %+v", got)
		}
		r.want(t, "", "")
		r.exit <- 0
		r.want(t, "delete", "Ended, exited 0")
	})
}

// A container whose process has ended meanwhile is removed, and stopping it does nothing.
func TestAdoptEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.dead = true
		r := newRig(t, f)
		task := r.runner.Adopt(r.ctx, r.spec, 1<<30, nil)
		task.Stop(syscall.SIGTERM, nil)
		task.Kill(nil)
		f.exit <- 0
		r.want(t, "delete", "Ended, exited 0")
	})
}

func TestStop(t *testing.T) {
	for name, tt := range map[string]struct {
		drops, below bool
		program      string // after the signal
		want         string
	}{
		"caught":                    {false, false, "/bin/web", "signal terminated"},
		"lost by the runtime":       {false, false, "/bin/other", "signal terminated, signal terminated"},
		"dropped, with descendants": {true, true, "/bin/web", "signal terminated below"},
		"dropped, without":          {true, false, "/bin/web", "signal terminated below, kill but [/other]"},
		"program is not known":      {false, false, "", "signal terminated"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.drops, f.below, f.program = tt.drops, tt.below, "/bin/web"
			r := newRig(t, f)
			task := r.runner.Launch(r.ctx, r.spec)
			synctest.Wait()
			f.calls = nil
			task.Stop(syscall.SIGTERM, []string{"/other"})
			f.mu.Lock()
			f.program = tt.program
			f.mu.Unlock()
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := strings.Join(f.calls, ", "); got != tt.want {
				t.Errorf("%s: %s, want %s", name, got, tt.want)
			}
		})
	}
}

// A stop signal is not repeated to a task that has ended: its process id may be another's.
func TestStopIsNotRepeatedAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.program = "/memfd:runc"
		r := newRig(t, f)
		task := r.runner.Launch(r.ctx, r.spec)
		synctest.Wait()
		task.Stop(syscall.SIGTERM, nil)
		f.mu.Lock()
		f.program = "/bin/web"
		f.mu.Unlock()
		f.exit <- 0
		time.Sleep(time.Minute)
		r.want(t, "create, start, signal terminated, delete", "Mounted, Started, Ended, exited 0")
	})
}

// A container keeps running when the context of its task ends.
func TestContainersKeepRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake())
		r.runner.Launch(r.ctx, r.spec)
		synctest.Wait()
		r.cancel()
		r.runner.Close()
		r.want(t, "create, start", "Mounted, Started")
	})
}
