package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/bundle"
	"keelson/services/connection"
	"keelson/services/containerd"
)

// fake is a containerd with one task, and with asProcess the process of that.
type fake struct {
	connection.Tasks
	mu       sync.Mutex
	calls    []string
	create   error         // result of Create
	takes    time.Duration // to create
	silent   bool          // Wait never returns
	exit     chan int      // takes the exit code
	gone     chan struct{} // closed when the process has ended
	program  string        // that the process runs
	drops    bool          // the process never receives its stop signal
	below    bool          // the process has descendants
	dead     bool          // the process cannot be opened
	survives bool          // the process does not end when containerd reports its end
}

func newFake() *fake { return &fake{exit: make(chan int, 1), gone: make(chan struct{})} }

func (f *fake) call(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fake) Create(_ context.Context, s containerd.Spec) (int, error) {
	f.call("create")
	time.Sleep(f.takes)
	return 1 << 30, f.create
}

func (f *fake) Start(context.Context, string, string) error { f.call("start"); return nil }

func (f *fake) Delete(context.Context, string, string) error { f.call("delete"); return nil }

func (f *fake) Ping(context.Context) error { f.call("ping"); return nil }

func (f *fake) Close() error { return nil }

func (f *fake) Wait(ctx context.Context, _, _ string) (containerd.Exit, error) {
	exit := f.exit
	if f.silent {
		exit = nil
	}
	select {
	case code := <-exit:
		if !f.survives {
			close(f.gone)
		}
		return containerd.Exit{Code: code}, nil
	case <-ctx.Done():
		return containerd.Exit{}, ctx.Err()
	}
}

func (f *fake) Gone() <-chan struct{}         { return f.gone }
func (f *fake) Signal(s syscall.Signal) error { f.call("signal %v", s); return nil }
func (f *fake) Drops(syscall.Signal) bool     { return f.drops }
func (f *fake) KillAll(spare []string) error  { f.call("kill but %v", spare); return nil }

func (f *fake) SignalDescendants(s syscall.Signal) bool {
	f.call("signal %v below", s)
	return f.below
}

func (f *fake) KillShim() error {
	f.call("kill shim")
	return nil
}

func (f *fake) Program() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.program
}

// asProcess is the process of a fake.
type asProcess struct{ *fake }

func (asProcess) Close() {}

// noOutput is for containers that print nothing.
type noOutput struct{}

func (noOutput) Stdout() string          { return "" }
func (noOutput) Stderr() string          { return "" }
func (noOutput) Created(context.Context) {}
func (noOutput) Again()                  {}
func (noOutput) Close()                  {}

// rig is a Runner in a bubble of fake time, and what its task reports.
type rig struct {
	*fake
	ctx    context.Context
	cancel context.CancelFunc
	runner *Runner
	spec   Spec
	down   chan struct{}
	events []string
}

func newRig(t *testing.T, f *fake) *rig {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "web")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config := `{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"}}`
	if err := os.WriteFile(filepath.Join(dir, bundle.ConfigFile), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{fake: f, down: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(t.Context())
	begin := time.Now()
	logger := slog.New(slog.DiscardHandler)
	r.runner = NewRunner(Options{
		Connection: connection.New(connection.Options{
			Dial: func(context.Context) (connection.Tasks, error) { return f, nil }, Logger: logger,
		}),
		LogDir: dir, Logger: logger, Now: func() time.Duration { return time.Since(begin) },
		Output: func(OutputOf) Output { return noOutput{} },
		Process: func(int) (Process, error) {
			if f.dead {
				return nil, syscall.ESRCH
			}
			return asProcess{f}, nil
		},
		Down: r.down,
	})
	r.spec = Spec{Name: "web", Bundle: b, Placement: Placement{Path: b.Cgroup("web"), Others: []string{"/other"}}, Report: func(e Event) {
		f.mu.Lock()
		defer f.mu.Unlock()
		r.events = append(r.events, strings.TrimPrefix(fmt.Sprintf("%T", e), "task."))
		switch e := e.(type) {
		case Ended:
			r.events = append(r.events, e.Exit.String())
		case NotStarted:
			r.events = append(r.events, e.Err.Error())
		}
	}}
	t.Cleanup(func() {
		r.cancel()
		r.runner.Close()
	})
	return r
}

// want compares calls to containerd and to the process, and events.
func (r *rig) want(t *testing.T, calls, events string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := strings.Join(r.calls, ", "); got != calls {
		t.Errorf("calls %q, want %q", got, calls)
	}
	if got := strings.Join(r.events, ", "); got != events {
		t.Errorf("events %q, want %q", got, events)
	}
}

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake())
		r.runner.Launch(r.ctx, r.spec)
		r.want(t, "create, start", "Mounted, Started")
		r.exit <- 3
		r.want(t, "create, start, delete", "Mounted, Started, Ended, exited 3")
	})
}

// What was made of a container that cannot be started is removed before that is
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

// A start that is given up while containerd makes the task is not cut short, and the task
// is not started.
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

// A process that has ended is enough when containerd and shim do not report the end.
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

// At shutdown neither containerd nor shim are waited for long.
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
		record := Record{LogAt: [2]int64{3, 4}, NotifyAt: "@web"}
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
