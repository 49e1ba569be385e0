package supervisor

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"testing/synctest"

	"keelson/services/control"
	"keelson/services/machine"
	"keelson/services/swap"
	"keelson/services/task"
	"keelson/services/versions"
)

// The supervisor dies in each state of a swap. The next one runs the old version, or the
// new one if the swap was committed, and no swap is left.
func TestSwapInterrupted(t *testing.T) {
	for name, tt := range map[string]struct {
		remove bool
		until  func(o *owner) // the supervisor dies after that
		pid    int            // of the container that the next one finds; 0: none
		then   func(o *owner, t *testing.T)
	}{
		"the old one is being stopped": {until: func(*owner) {}, pid: 7, then: func(o *owner, t *testing.T) {
			o.is(t, machine.Restarting, 1, "adopt 7 &{[0 0] @a }", "stop terminated")
			o.report(task.Ended{})
			o.runs(t, versions.Image)
			o.report(task.Started{PID: 9})
		}},
		"the new one is being started": {until: func(o *owner) { o.report(task.Ended{}) }, pid: 8, then: func(o *owner, t *testing.T) {
			o.is(t, machine.Restarting, 1, "adopt 8 <nil>", "watch", "stop terminated")
			o.report(task.Ended{})
			o.runs(t, versions.Image)
			o.report(task.Started{PID: 9})
		}},
		"the new one is not there": {until: func(o *owner) { o.report(task.Ended{}) }, then: func(o *owner, t *testing.T) {
			o.runs(t, versions.Image)
			o.report(task.Started{PID: 9})
		}},
		"probation": {until: func(o *owner) { o.report(task.Ended{}); o.report(task.Started{PID: 8}) }, pid: 8, then: func(o *owner, t *testing.T) {
			o.is(t, machine.Restarting, 1, "adopt 8 &{[0 0] @a }", "watch", "stop terminated")
			o.report(task.Ended{})
			o.runs(t, versions.Image)
			o.report(task.Started{PID: 9})
		}},
		"the new one has ended well": {until: func(o *owner) {
			o.report(task.Ended{})
			o.report(task.Started{PID: 8})
			o.services.byName["a"].trial.state = swap.Accepted // The supervisor dies before it restores the old one.
			o.report(task.Ended{})
		}, then: func(o *owner, t *testing.T) {
			o.runs(t, versions.Image)
			o.report(task.Started{PID: 9})
		}},
		"removal": {remove: true, until: func(*owner) {}, pid: 7, then: func(o *owner, t *testing.T) {
			o.is(t, machine.Restarting, 1, "adopt 7 &{[0 0] @a }", "stop terminated")
			o.report(task.Ended{})
			o.runs(t, versions.Image)
			o.report(task.Started{PID: 9})
		}},
		"removal, and the service has stopped": {remove: true, until: func(*owner) {}, then: func(o *owner, t *testing.T) {
			o.runs(t, versions.Image)
			o.report(task.Started{PID: 9})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				o := newOwnerIn(t, dir, "", newFake())
				o.report(task.Started{PID: 7})
				if tt.remove {
					o.order(t, control.Request{Verb: control.Remove, Names: []string{"a"}})
				} else {
					o.swap(t, "a", "", false)
				}
				tt.until(o)
				saved := snapshot(t, dir)
				o.stop()
				restore(t, dir, saved)
				f := newFake()
				if tt.pid != 0 {
					f.add("a").pid = tt.pid
				}
				o = newOwnerIn(t, dir, "", f)
				tt.then(o, t)
				o.current(t, "a", versions.Image, "")
				o.stop()
			})
		})
	}
}

// A committed swap is found again, also by a supervisor that finds the container running.
func TestSwapSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := newOwnerIn(t, dir, "", newFake())
		o.report(task.Started{PID: 7})
		answer := o.swap(t, "a", "", false)
		o.commits(t, answer)
		saved := snapshot(t, dir)
		o.stop()
		restore(t, dir, saved)
		f := newFake()
		f.add("a").pid = 8
		o = newOwnerIn(t, dir, "", f)
		o.is(t, machine.Running, 1, "adopt 8 &{[0 0] @a }", "watch")
		o.runs(t, target(t, ""))
		o.current(t, "a", target(t, ""), versions.Image)
		o.stop()
	})
}

// snapshot returns the files and links of dir, as they are when the supervisor dies.
func snapshot(t *testing.T, dir string) fs.FS {
	t.Helper()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return os.DirFS(copied)
}

func restore(t *testing.T, dir string, saved fs.FS) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, saved)); err != nil {
		t.Fatal(err)
	}
}

// The supervisor dies before the new version, which was to start beside the old one, has a container.
// Nothing of it is left.
func TestOverlapInterruptedBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := newOwnerIn(t, dir, "", newFake())
		_, _, next := o.beside(t)
		saved := snapshot(t, dir)
		id := next.spec.ID
		if _, known := o.store.read(id); !known {
			t.Error("the state of the new version is not saved")
		}
		o.stop()
		restore(t, dir, saved)
		f := newFake()
		f.add("a").pid = 7
		o = newOwnerIn(t, dir, "", f)
		synctest.Wait()
		o.runs(t, versions.Image)
		o.current(t, "a", versions.Image, "")
		if old, known := o.store.read(id); known {
			t.Errorf("the state of %s is left: %+v", id, old)
		}
		o.stop()
	})
}
