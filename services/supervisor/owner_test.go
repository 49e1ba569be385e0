package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
	"keelson/services/connection"
	"keelson/services/control"
	"keelson/services/events"
	"keelson/services/machine"
	"keelson/services/task"
)

// fakeTasks makes tasks without containers: tests report their events.
type fakeTasks struct {
	mu   sync.Mutex
	made []*fakeTask
}

type fakeTask struct {
	all   *fakeTasks
	spec  task.Spec
	calls []string // of the supervisor
	said  string   // status sent by sd_notify(3)
}

func (f *fakeTasks) add(spec task.Spec, calls ...string) Task {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &fakeTask{all: f, spec: spec, calls: calls}
	f.made = append(f.made, t)
	return t
}

func (f *fakeTasks) Launch(_ context.Context, spec task.Spec) Task { return f.add(spec) }

func (f *fakeTasks) Adopt(_ context.Context, spec task.Spec, pid int, record *task.Record) Task {
	return f.add(spec, fmt.Sprintf("adopt %d %v", pid, record))
}

// last returns the task that was made last, the calls to it, and how many were made.
func (f *fakeTasks) last() (last *fakeTask, calls []string, count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last = f.made[len(f.made)-1]
	return last, slices.Clone(last.calls), len(f.made)
}

func (f *fakeTasks) Close() {}

func (t *fakeTask) call(format string, args ...any) {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	t.calls = append(t.calls, fmt.Sprintf(format, args...))
}

func (t *fakeTask) Abort()                                { t.call("abort") }
func (t *fakeTask) Probe()                                { t.call("probe") }
func (t *fakeTask) Watch()                                { t.call("watch") }
func (t *fakeTask) Stop(s syscall.Signal, spare []string) { t.call("stop %v", s) }
func (t *fakeTask) Signal(s syscall.Signal) error         { t.call("signal %v", s); return nil }
func (t *fakeTask) Kill(spare []string)                   { t.call("kill but %v", spare) }
func (t *fakeTask) Status() string                        { return t.said }
func (t *fakeTask) Placement() task.Placement             { return t.spec.Placement }
func (t *fakeTask) Record() task.Record                   { return task.Record{NotifyAt: "@" + t.spec.Name} }

// owner is a supervisor of one service, a, with fake tasks in a bubble of fake time.
type owner struct {
	*Supervisor
	*fakeTasks
	stop    func()
	journal *events.Journal
	cursor  *events.Cursor // of newEvents

	digest  func(ctx context.Context) (string, error) // of the root of a version; nil: the right one
	copied  func(ctx context.Context, from *os.File, place artifact.Place, path string) (string, error)
	useCopy func() error
	program func(process, path string) error // whether a process executes a program; nil: it does
}

func newOwner(t *testing.T, annotations string) *owner {
	t.Helper()
	return newOwnerIn(t, t.TempDir(), annotations, newFake())
}

// newOwnerIn has a state directory, and a containerd that may have tasks already.
func newOwnerIn(t *testing.T, dir, annotations string, f *fake) *owner {
	t.Helper()
	config := `{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"},"annotations":{` + annotations + `}}`
	put(t, filepath.Join(dir, "services/a/config.json"), config)
	put(t, filepath.Join(dir, "swap.yml"), "services: [{name: '*', allow: [swap, add, remove, rollback], signed-by: [], gain: ['*']}]")
	o := &owner{fakeTasks: &fakeTasks{}}
	o.configure(t, dir, f)
	o.serve(t)
	return o
}

// configure makes the supervisor of newOwnerIn.
func (o *owner) configure(t *testing.T, dir string, f *fake) {
	t.Helper()
	begin := time.Now()
	o.journal = events.Open(events.Options{Boot: 1, Now: func() time.Duration { return time.Since(begin) }})
	o.Supervisor = New(Options{
		Journal: o.journal, Power: func(syscall.Signal) error { return nil },
		Dir: filepath.Join(dir, "services"), StateDir: dir, LogDir: dir, Tasks: o.fakeTasks,
		Versions: filepath.Join(dir, "versions"), Programs: filepath.Join(dir, "store/programs"),
		Role:   func(context.Context, ...string) (string, error) { return "", nil },
		Daemon: func() (int, error) { return 99, nil },
		SameProgram: func(process, path string) error {
			if o.program == nil {
				return nil
			}
			return o.program(process, path)
		},
		Digest: func(ctx context.Context, _, _ string) (string, error) {
			if o.digest == nil {
				return rightDigest, nil
			}
			return o.digest(ctx)
		},
		Copy: func(ctx context.Context, _ string, from *os.File, place artifact.Place, path string) (string, error) {
			if o.copied == nil {
				return "", errors.New("nothing is to be copied")
			}
			return o.copied(ctx, from, place, path)
		},
		UseCopy: func(*bundle.Image) error { return o.useCopy() },
		Stage:   fakeStage, Policy: filepath.Join(dir, "swap.yml"),
		Dial:   func(context.Context) (connection.Tasks, error) { return f, nil },
		Now:    func() time.Duration { return time.Since(begin) },
		Random: func() float64 { return 0 },
		Changed: func(ctx context.Context, _ string) (bool, error) {
			<-ctx.Done()
			return false, nil
		},
	})
}

// serve starts the supervisor.
func (o *owner) serve(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Serve(ctx) }()
	o.stop = func() {
		cancel()
		synctest.Wait()
		o.mu.Lock()
		all := slices.Clone(o.made)
		o.mu.Unlock()
		for _, one := range all { // Those that have ended before are not heard.
			one.spec.Report(task.Ended{})
			synctest.Wait()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
}

// report reports events of the last task.
func (o *owner) report(events ...task.Event) {
	for _, e := range events {
		last, _, _ := o.last()
		last.spec.Report(e)
	}
	synctest.Wait()
}

// is compares the state of the service, how many tasks were made, and the calls to the
// last one.
func (o *owner) is(t *testing.T, state machine.State, tasks int, calls ...string) {
	t.Helper()
	synctest.Wait()
	v := o.Control(t.Context(), control.Request{Verb: control.List}).Services[0]
	_, got, count := o.last()
	if v.State != string(state) || count != tasks {
		t.Errorf("%+v after %d tasks, want %s after %d", v, count, state, tasks)
	}
	if !slices.Equal(got, calls) {
		t.Errorf("%s: the task was asked %q, want %q", state, got, calls)
	}
}

// After a crash the task is replaced when the delay is over.
func TestOwnerRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.is(t, machine.Starting, 1)
		o.report(task.Started{PID: 7})
		o.is(t, machine.Running, 1, "watch")
		o.report(task.Ended{Exit: task.Exit{At: o.options.Now(), Code: 1}})
		o.is(t, machine.Backoff, 1, "watch")
		time.Sleep(100 * time.Millisecond)
		o.is(t, machine.Starting, 2)
		o.report(task.Started{PID: 8})
		o.is(t, machine.Running, 2, "watch")
		o.stop()
	})
}

// Events of a task that was replaced change nothing.
func TestOwnerDropsLateEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		first, _, _ := o.last()
		o.report(task.Started{PID: 7}, task.Ended{Exit: task.Exit{Code: 1}})
		time.Sleep(time.Second)
		o.report(task.Started{PID: 8})
		for _, e := range []task.Event{task.Unhealthy{Err: errors.New("no answer")}, task.StatusChanged{}, task.Ended{}, task.NotStarted{Err: errors.New("late")}} {
			first.spec.Report(e)
		}
		o.is(t, machine.Running, 2, "watch")
		o.stop()
	})
}

func TestOwnerProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, `"keelson.ready":"notify"`)
		o.report(task.Started{PID: 7})
		o.is(t, machine.Activating, 1, "probe")
		last, _, _ := o.last()
		last.said = "serving"
		o.report(task.Ready{})
		o.is(t, machine.Running, 1, "probe", "watch")
		if v := o.Control(t.Context(), control.Request{Verb: control.List}).Services[0]; v.Status != "serving" {
			t.Errorf("status %q", v.Status)
		}
		o.report(task.Unhealthy{Err: errors.New("no sign of life")})
		o.is(t, machine.Failing, 1, "probe", "watch", "stop terminated")
		o.report(task.Ended{})
		o.is(t, machine.Backoff, 1, "probe", "watch", "stop terminated")
		time.Sleep(time.Second)
		o.report(task.Started{PID: 8}, task.NotReady{Err: errors.New("no READY=1")})
		o.is(t, machine.Failing, 2, "probe", "stop terminated")
		o.stop()
	})
}

// A task is killed when it does not end in time, and aborted while it starts.
func TestOwnerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, `"keelson.stop.timeout":"3s"`)
		o.report(task.Started{PID: 7})
		stopped := make(chan control.Response, 3)
		order := func(verb string) {
			go func() {
				stopped <- o.Control(t.Context(), control.Request{Verb: verb, Names: []string{"a"}})
			}()
			synctest.Wait()
		}
		order(control.Stop)
		o.is(t, machine.Stopping, 1, "watch", "stop terminated")
		time.Sleep(3 * time.Second)
		o.is(t, machine.Stopping, 1, "watch", "stop terminated", "kill but []")
		o.report(task.Ended{})
		o.is(t, machine.Stopped, 1, "watch", "stop terminated", "kill but []")
		if answer := <-stopped; answer.Code != 0 {
			t.Errorf("stop: %+v", answer)
		}
		order(control.Start)
		o.is(t, machine.Starting, 2)
		order(control.Stop)
		o.is(t, machine.Stopping, 2, "abort")
		o.report(task.NotStarted{Err: context.Canceled})
		o.is(t, machine.Stopped, 2, "abort")
		o.stop()
	})
}

// Mounts outlive a task only if the service is started again.
func TestOwnerUnmounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		unmounted := 0
		o.report(task.Mounted{Unmount: func() error { unmounted++; return nil }}, task.Started{PID: 7}, task.Ended{Exit: task.Exit{Code: 1}})
		if unmounted != 0 {
			t.Error("unmounted before the restart")
		}
		time.Sleep(time.Second)
		o.report(task.Started{PID: 8}, task.Ended{})
		o.is(t, machine.Exited, 2, "watch")
		if unmounted != 1 {
			t.Errorf("unmounted %d times", unmounted)
		}
		o.stop()
	})
}

// The record of a task is saved with the service once it runs.
func TestOwnerSavesRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		text, err := os.ReadFile(filepath.Join(o.options.StateDir, "state/a.json"))
		for _, want := range []string{`"state":"running"`, `"pid":7`, `"logAt":[0,0]`, `"notifyAt":"@a"`} {
			if !strings.Contains(string(text), want) {
				t.Errorf("the state lacks %s: %s (%v)", want, text, err)
			}
		}
		o.stop()
	})
}

// A task of an earlier supervisor is taken over with its record, in the state it was in.
func TestOwnerAdopts(t *testing.T) {
	for state, tt := range map[machine.State]struct {
		then  machine.State
		calls []string
	}{
		machine.Running:    {machine.Running, []string{"watch"}},
		machine.Activating: {machine.Activating, []string{"probe"}},
		machine.Stopping:   {machine.Stopping, []string{"stop terminated"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			f, dir := newFake(), t.TempDir()
			pid := f.add("a").pid
			text, err := json.Marshal(saved{State: state, Pid: pid, Record: task.Record{NotifyAt: "@a"}})
			if err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, "state/a.json"), string(text))
			o := newOwnerIn(t, dir, `"keelson.ready":"notify"`, f)
			o.is(t, tt.then, 1, append([]string{fmt.Sprintf("adopt %d &{[0 0] @a }", pid)}, tt.calls...)...)
			o.stop()
		})
	}
}
