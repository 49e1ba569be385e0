package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/services/candidate"
	"keelson/services/control"
	"keelson/services/machine"
	"keelson/services/swap"
	"keelson/services/task"
	"keelson/services/versions"
)

// A version that cannot start because of another service is given up without waiting for
// that, and is not rejected.
func TestSwapBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "services/b/config.json"), `{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"}}`)
		const requires = `"keelson.requires":"b"`
		o := newOwnerIn(t, dir, requires, newFake())
		b, _, _ := o.last()
		b.spec.Report(task.Started{PID: 7})
		synctest.Wait()
		o.report(task.Started{PID: 8})
		stopped := o.order(t, control.Request{Verb: control.Stop, Names: []string{"b"}})
		o.report(task.Ended{})
		b.spec.Report(task.Ended{})
		want(t, stopped, "")
		for range 2 {
			want(t, o.swap(t, "a", requires, false), "requires b, which is stopped")
			o.is(t, machine.Stopped, 2, "watch", "stop terminated")
			o.current(t, "a", versions.Image, "")
		}
		o.stop()
	})
}

// When a client has its answer, the disk has nothing more to do, so that the next swap can
// begin.
func TestSwapIsRecordedWhenAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		for i, verb := range []string{control.Swap, control.Rollback, control.Rollback} {
			answer := o.order(t, control.Request{Verb: verb, Names: []string{"a"}, Body: strings.NewReader("")})
			o.report(task.Ended{})
			o.report(task.Started{PID: 8 + i})
			if r := <-answer; r.Error != "" {
				t.Fatal(r.Error)
			}
			if state, err := o.versions.Read("a"); err != nil || state.Trial != nil {
				t.Errorf("the store holds %+v (%v)", state, err)
			}
		}
		o.stop()
	})
}

// A removal that the disk cannot take starts the service again.
func TestRemovalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		answer := o.order(t, control.Request{Verb: control.Remove, Names: []string{"a"}})
		inTheWay := filepath.Join(o.options.Versions, "a", "current.new")
		put(t, filepath.Join(inTheWay, "file"), "")
		o.report(task.Ended{})
		o.is(t, machine.Starting, 2)
		o.report(task.Started{PID: 8})
		want(t, answer, "cannot make link")
		o.is(t, machine.Running, 2, "watch")
		o.current(t, "a", versions.Image, "")
		if err := os.RemoveAll(inTheWay); err != nil {
			t.Fatal(err)
		}
		o.stop()
	})
}

// Services that a removal stops with the one that they require start again with it if the
// removal is undone: by the disk, or by the next supervisor.
func TestRemovalFailsWithDependents(t *testing.T) {
	for _, dies := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			put(t, filepath.Join(dir, "services/b/config.json"),
				`{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"},"annotations":{"keelson.requires":"a"}}`)
			put(t, filepath.Join(dir, "services/c/config.json"),
				`{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"},"annotations":{"keelson.requires":"a"}}`)
			o := newOwnerIn(t, dir, "", newFake())
			a, _, _ := o.last()
			a.spec.Report(task.Started{PID: 7})
			synctest.Wait()
			o.mu.Lock()
			others := slices.Clone(o.made[1:])
			o.mu.Unlock()
			for i, other := range others {
				other.spec.Report(task.Started{PID: 8 + i})
			}
			synctest.Wait()
			stopped := o.order(t, control.Request{Verb: control.Stop, Names: []string{"c"}})
			for _, other := range others {
				if other.spec.Name == "c" {
					other.spec.Report(task.Ended{})
				}
			}
			want(t, stopped, "")
			answer := o.order(t, control.Request{Verb: control.Remove, Names: []string{"a"}})
			for _, other := range others {
				if other.spec.Name == "b" {
					other.spec.Report(task.Ended{})
				}
			}
			synctest.Wait()
			if dies {
				o.stop()
				<-answer
				o = newOwnerIn(t, dir, "", newFake())
			} else {
				inTheWay := filepath.Join(o.options.Versions, "a", "current.new")
				put(t, filepath.Join(inTheWay, "file"), "")
				a.spec.Report(task.Ended{})
				synctest.Wait()
				if err := os.RemoveAll(inTheWay); err != nil {
					t.Fatal(err)
				}
			}
			o.report(task.Started{PID: 10})
			if !dies {
				want(t, answer, "cannot make link")
			}
			synctest.Wait()
			last, _, _ := o.last()
			if last.spec.Name != "b" {
				t.Errorf("dies %v: the last that is started is %s, want b, which requires a", dies, last.spec.Name)
			}
			o.report(task.Started{PID: 11})
			for _, v := range o.Control(t.Context(), control.Request{Verb: control.List}).Services {
				if wanted := map[string]string{"a": "running", "b": "running", "c": "stopped"}[v.Name]; v.State != wanted {
					t.Errorf("dies %v: service %s is %s, want %s", dies, v.Name, v.State, wanted)
				}
			}
			o.stop()
		})
	}
}

// A swap whose end could not be recorded is given up by the next one.
func TestSwapAfterLostEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		inTheWay := filepath.Join(o.options.Versions, "a", "rejected.json.new")
		put(t, filepath.Join(inTheWay, "file"), "")
		if err := o.versions.Begin("a", versions.Removed, true, nil, versions.Record{}); err != nil {
			t.Fatal(err)
		}
		answer := o.swap(t, "a", "", false)
		o.commits(t, answer)
		o.current(t, "a", target(t, ""), versions.Image)
		// A version that fails cannot be remembered, and its swap ends all the same.
		answer = o.swap(t, "a", `"x":"y"`, false)
		o.report(task.Ended{})
		o.report(task.Started{PID: 9}, task.Ended{Exit: task.Exit{Code: 3}})
		o.report(task.Started{PID: 10})
		time.Sleep(persistTries * persistDelay)
		want(t, answer, "exited 3")
		o.current(t, "a", target(t, ""), versions.Image)
		o.stop()
	})
}

// A start that is ordered while a version starts does not keep its swap from going on, nor a
// version from being restored.
func TestStartWhileReplacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		for _, code := range []int{0, 3} {
			answer := o.swap(t, "a", fmt.Sprintf(`"x":"%d"`, code), false)
			o.report(task.Ended{})
			started := o.order(t, control.Request{Verb: control.Start, Names: []string{"a"}})
			o.report(task.Started{PID: 8})
			want(t, started, "")
			if code == 0 {
				time.Sleep(30 * time.Second)
				want(t, answer, "")
				continue
			}
			o.report(task.Ended{Exit: task.Exit{Code: code}})
			started = o.order(t, control.Request{Verb: control.Start, Names: []string{"a"}})
			o.report(task.Started{PID: 9})
			want(t, started, "")
			want(t, answer, "exited 3")
		}
		o.current(t, "a", target(t, `"x":"0"`), versions.Image)
		o.stop()
	})
}

// A start that is ordered while the removal of a service is recorded does not make a
// container that nobody supervises.
func TestStartDuringRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		stopped := o.order(t, control.Request{Verb: control.Stop, Names: []string{"a"}})
		o.report(task.Ended{})
		want(t, stopped, "")
		removing := func(state swap.State) func() error {
			return func() error {
				o.services.byName["a"].trial = &trial{Candidate: candidate.Candidate{Name: "a", Next: versions.Removed}, state: state, oldDir: "x"}
				return nil
			}
		}
		if err := o.ask(removing(swap.Committing)); err != nil {
			t.Fatal(err)
		}
		want(t, o.order(t, control.Request{Verb: control.Start, Names: []string{"a"}}), "a: exited 0")
		o.is(t, machine.Stopped, 1, "watch", "stop terminated")
		if err := o.ask(removing(swap.Aborting)); err != nil {
			t.Fatal(err)
		}
		started := o.order(t, control.Request{Verb: control.Start, Names: []string{"a"}})
		o.report(task.Started{PID: 8})
		want(t, started, "")
		o.stop()
	})
}

// An order for a service that was removed leaves alone what a swap reads meanwhile.
func TestStartDuringSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		removed := o.order(t, control.Request{Verb: control.Remove, Names: []string{"a"}})
		o.report(task.Ended{})
		want(t, removed, "")
		staged, err := o.versions.Stage("a")
		if err == nil {
			err = o.reserve("a")
		}
		if err != nil {
			t.Fatal(err)
		}
		want(t, o.order(t, control.Request{Verb: control.Start, Names: []string{"a"}}), "no such service")
		if _, err := os.Stat(staged); err != nil {
			t.Error(err)
		}
		o.stop()
	})
}
