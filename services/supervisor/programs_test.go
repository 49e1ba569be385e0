package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/paths"
	"keelson/runtime/programs"
	"keelson/services/control"
	"keelson/services/task"
	"keelson/services/upgrade"
	"keelson/services/versions"
)

// programsRig is a supervisor that finds a swap of programs at its start.
type programsRig struct {
	*owner
	dir  string
	next versions.Target
	fake *fake
}

func newProgramsRig(t *testing.T) *programsRig {
	t.Helper()
	r := &programsRig{owner: &owner{fakeTasks: &fakeTasks{}}, dir: t.TempDir(), next: versions.Target("sha256-" + strings.Repeat("1", 64)), fake: newFake()}
	put(t, filepath.Join(r.dir, "services/a/config.json"), `{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"}}`)
	put(t, filepath.Join(r.dir, "swap.yml"), "services: [{name: '*', allow: [swap], signed-by: []}]")
	r.configure(t, r.dir, r.fake)
	return r
}

func (r *programsRig) store() *versions.Store { return versions.New(filepath.Join(r.dir, "store")) }

func (r *programsRig) state() string { return filepath.Join(r.dir, "programs") }

// recorded records the swap in the store.
func (r *programsRig) recorded(t *testing.T) {
	t.Helper()
	if err := r.store().Begin(upgrade.Name, r.next, true, nil, versions.Record{By: "test"}); err != nil {
		t.Fatal(err)
	}
}

// onTrial is recorded, and the new programs are in use.
func (r *programsRig) onTrial(t *testing.T, services map[string]int) {
	t.Helper()
	r.recorded(t)
	begun := programs.Trial{Target: string(r.next), Old: programs.Image, Probation: time.Second, Services: services}
	if err := errors.Join(programs.WriteTrial(r.state(), begun), programs.WriteUsed(r.state(), string(r.next))); err != nil {
		t.Fatal(err)
	}
}

// replacedFor waits until the supervisor has given up, and checks why.
func (r *programsRig) replacedFor(t *testing.T, name, want string) {
	t.Helper()
	select {
	case <-r.Replaced():
	case <-time.After(trialTime):
		t.Errorf("%s: the supervisor goes on", name)
		return
	}
	if why := r.ReplacedWhy(); why == nil || !strings.Contains(why.Error(), want) || !strings.Contains(programs.ReadReason(r.state()), want) {
		t.Errorf("%s: %v (%q), want %q", name, why, programs.ReadReason(r.state()), want)
	}
	if _, trial, _ := programs.ReadTrial(r.state()); !trial {
		t.Errorf("%s: the trial is gone, so that PID 1 does nothing", name)
	}
	if state, err := r.store().Read(upgrade.Name); err != nil || state.Current != versions.Image {
		t.Errorf("%s: the store has %+v (%v)", name, state, err)
	}
}

// trialTime is that after which PID 1 ends a trial.
const trialTime = 90 * time.Second

// A supervisor on trial gives up in time when something is not as it must be.
func TestTrialFails(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(t *testing.T, r *programsRig)
		want   string
	}{
		"other programs": {func(t *testing.T, r *programsRig) {
			if err := programs.WriteUsed(r.state(), programs.Image); err != nil {
				t.Fatal(err)
			}
		}, "it was interrupted"},
		"old supervisor":              {func(_ *testing.T, r *programsRig) { r.program = failFor(paths.Service) }, "another program"},
		"old containerd":              {func(_ *testing.T, r *programsRig) { r.program = failFor(paths.Containerd) }, "another program"},
		"container that does not end": {func(*testing.T, *programsRig) {}, "not ready within 40s"},
		"no container":                {func(_ *testing.T, r *programsRig) { r.fake.refuse = errors.New("no shim") }, "no shim"},
		"containerd hangs":            {func(_ *testing.T, r *programsRig) { r.fake.hangs = true }, "not ready within 40s"},
		"bad trial":                   {func(t *testing.T, r *programsRig) { put(t, filepath.Join(r.state(), "trial"), "{}") }, "no version"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newProgramsRig(t)
			r.onTrial(t, nil)
			tc.change(t, r)
			r.serve(t)
			if name == "bad trial" {
				synctest.Wait()
				if r.ReplacedWhy() == nil {
					t.Errorf("%s: the supervisor goes on", name)
				}
			} else {
				r.replacedFor(t, name, tc.want)
			}
			r.fake.mu.Lock()
			r.fake.hangs = false
			r.fake.mu.Unlock()
			r.stop()
		})
	}
}

func failFor(path string) func(process, path string) error {
	return func(_, p string) error {
		if p == path {
			return errors.New("it executes another program")
		}
		return nil
	}
}

// A service that has another process than before the trial fails it.
func TestTrialServiceEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newProgramsRig(t)
		r.onTrial(t, map[string]int{"a": 7})
		r.serve(t)
		r.replacedFor(t, "service", "service a ran as process 7")
		r.stop()
	})
}

// A shutdown during a trial stops the services.
func TestTrialShutdown(t *testing.T) {
	for _, result := range []error{nil, errors.New("late")} {
		synctest.Test(t, func(t *testing.T) {
			r := newProgramsRig(t)
			r.program = func(string, string) error { time.Sleep(time.Minute); return result }
			r.onTrial(t, nil)
			r.serve(t)
			r.report(task.Started{PID: 7})
			r.stop()
			select {
			case <-r.Replaced():
				t.Error("the supervisor ended without stopping the services")
			default:
			}
		})
	}
}

// What a supervisor does with a swap whose trial is over or has not begun.
func TestTrialOver(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare           func(t *testing.T, r *programsRig)
		rejected, current bool
		outcome           bool // a trial was recorded as committed
	}{
		"interrupted": {func(t *testing.T, r *programsRig) { r.recorded(t) }, false, false, false},
		"restored by PID 1": {func(t *testing.T, r *programsRig) {
			r.recorded(t)
			if err := programs.EndTrial(r.state(), programs.Outcome{Target: string(r.next), Old: programs.Image, Reason: "it failed"}); err != nil {
				t.Fatal(err)
			}
		}, true, false, false},
		"committed, and not recorded as that": {func(t *testing.T, r *programsRig) {
			r.onTrial(t, nil)
			if err := r.store().Commit(upgrade.Name); err != nil {
				t.Fatal(err)
			}
		}, false, true, true},
		"without a record": {func(t *testing.T, r *programsRig) {
			r.recorded(t)
			if err := r.store().Abort(upgrade.Name, ""); err != nil {
				t.Fatal(err)
			}
			if err := programs.WriteTrial(r.state(), programs.Trial{Target: string(r.next), Old: programs.Image}); err != nil {
				t.Fatal(err)
			}
		}, false, false, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newProgramsRig(t)
			tc.prepare(t, r)
			r.serve(t)
			synctest.Wait()
			state, err := r.store().Read(upgrade.Name)
			if err != nil || state.Trial != nil || (state.Current == r.next) != tc.current {
				t.Errorf("%s: the store has %+v (%v)", name, state, err)
			}
			if why, err := r.store().Rejected(upgrade.Name, r.next); err != nil || (why != "") != tc.rejected {
				t.Errorf("%s: rejected for %q (%v)", name, why, err)
			}
			if _, trial, _ := programs.ReadTrial(r.state()); trial {
				t.Errorf("%s: the trial is left", name)
			}
			if o, _, _ := programs.ReadOutcome(r.state()); o.Committed != tc.outcome {
				t.Errorf("%s: outcome %+v", name, o)
			}
			r.report(task.Started{PID: 7})
			if answer := r.swap(t, "a", "", false); len(answer) > 0 {
				t.Errorf("%s: services cannot be swapped: %+v", name, <-answer)
			}
			r.stop()
		})
	}
}

// Programs and services are not swapped at the same time.
func TestProgramsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newProgramsRig(t)
		r.serve(t)
		r.report(task.Started{PID: 7})
		order := control.Request{Verb: control.Rollback, Programs: true, Progress: func(string) {}}
		r.post(func() { r.swapping["a"] = true })
		want(t, r.order(t, order), "a swap of service a has begun")
		r.post(func() { delete(r.swapping, "a") })
		want(t, r.order(t, order), "no previous version")
		order.Names = []string{"a"}
		want(t, r.order(t, order), "name no service")
		if _, err := os.Stat(filepath.Join(r.dir, "programs")); err == nil {
			t.Error("a refused order has begun a trial")
		}
		r.stop()
	})
}

// During a trial nothing else is swapped.
func TestTrialBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newProgramsRig(t)
		checked := make(chan struct{})
		r.program = func(string, string) error { <-checked; return errors.New("not the one") }
		r.onTrial(t, nil)
		r.serve(t)
		r.report(task.Started{PID: 7})
		want(t, r.swap(t, "a", "", false), "a swap of the programs has begun")
		want(t, r.order(t, control.Request{Verb: control.Rollback, Programs: true, Progress: func(string) {}}), "a swap of the programs has begun")
		close(checked)
		r.replacedFor(t, "trial", "not the one")
		r.stop()
	})
}
