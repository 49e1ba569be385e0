package supervisor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/bundle"
	"keelson/services/control"
	"keelson/services/machine"
	"keelson/services/task"
	"keelson/services/versions"
)

// The ID of a container that starts beside another one names the service and the version,
// is an ID of containerd, and leads back to the service.
func TestInstance(t *testing.T) {
	version, err := versions.TargetOf("sha256:" + strings.Repeat("0123456789abcdef", 4))
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[versions.Target]string{version: "web.0123456789ab", versions.Image: "web.image"} {
		got := instanceOf("web", target)
		if err := bundle.CheckName("services", got); got != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", target, got, err, want)
		}
		if name := serviceOf(got, []string{"we", "webs", "web"}); name != "web" {
			t.Errorf("%s is of %q", got, name)
		}
	}
	for _, id := range []string{"web", "web.", "web.0123456789a", "web.0123456789abc", "web.0123456789aB", "web.images", "db.image", "web.web.image"} {
		if name := serviceOf(id, []string{"web"}); name != "" {
			t.Errorf("%s is of %s", id, name)
		}
	}
}

const overlapping = `"keelson.swap":"overlap"`

// asked returns the calls of the supervisor.
func (t *fakeTask) asked() []string {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	return slices.Clone(t.calls)
}

// beside begins a swap with overlap, and returns the tasks of the old and the new version.
func (o *owner) beside(t *testing.T) (answer <-chan control.Response, before, next *fakeTask) {
	t.Helper()
	o.report(task.Started{PID: 7})
	before, _, _ = o.last()
	answer = o.swap(t, "a", overlapping, false)
	synctest.Wait()
	next, _, _ = o.last()
	id := instanceOf("a", target(t, overlapping))
	if next == before || next.spec.Name != "a" || next.spec.ID != id || next.spec.Placement.Path != "/"+id {
		t.Fatalf("the new task is %+v", next.spec)
	}
	return answer, before, next
}

// The old version is stopped when the new one has passed its probation, and the service
// is that; its next start has the ID of the service again.
func TestOverlapCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		answer, before, next := o.beside(t)
		next.spec.Report(task.Started{PID: 8})
		time.Sleep(29 * time.Second)
		if got := o.Control(t.Context(), control.Request{Verb: control.List}).Services; len(got) != 2 || !slices.Equal(before.asked(), []string{"watch"}) {
			t.Errorf("during the probation: %+v, the old version was asked %q", got, before.asked())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if want := []string{"watch", "stop terminated"}; !slices.Equal(before.asked(), want) {
			t.Errorf("after the probation the old version was asked %q, want %q", before.asked(), want)
		}
		before.spec.Report(task.Ended{})
		want(t, answer, "")
		o.current(t, "a", target(t, overlapping), versions.Image)
		if got, known := o.store.read("a"); !known || got.Instance != next.spec.ID || got.Pid != 8 {
			t.Errorf("saved: %+v", got)
		}
		o.is(t, machine.Running, 2, "watch")
		next.spec.Report(task.Ended{Exit: task.Exit{At: o.options.Now(), Code: 1}})
		time.Sleep(time.Second)
		if last, _, count := o.last(); count != 3 || last.spec.ID != "" || last.spec.Placement.Path != "/a" {
			t.Errorf("the next of %d tasks is %+v", count, last.spec)
		}
		o.stop()
	})
}

// A new version that fails, at any time until the old one has stopped, leaves the old one.
func TestOverlapRestores(t *testing.T) {
	ended := task.Ended{Exit: task.Exit{Code: 1}}
	for name, tt := range map[string]struct {
		fails   func(o *owner, before, next *fakeTask)
		why     string
		stopped bool // the old version was
	}{
		"not started": {func(_ *owner, _, next *fakeTask) { next.spec.Report(task.NotStarted{Err: errors.New("no memory")}) }, "no memory", false},
		"late":        {func(_ *owner, _, next *fakeTask) { time.Sleep(2 * time.Minute); next.spec.Report(task.NotStarted{}) }, "not ready within", false},
		"in probation": {func(_ *owner, _, next *fakeTask) {
			next.spec.Report(task.Started{PID: 8})
			next.spec.Report(ended)
		}, "exited 1", false},
		"while the old version stops": {func(_ *owner, before, next *fakeTask) {
			next.spec.Report(task.Started{PID: 8})
			time.Sleep(31 * time.Second)
			next.spec.Report(ended)
			before.spec.Report(task.Ended{})
		}, "exited 1", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOwner(t, "")
				answer, before, next := o.beside(t)
				tt.fails(o, before, next)
				synctest.Wait()
				want(t, answer, tt.why)
				o.current(t, "a", versions.Image, "")
				last, _, _ := o.last()
				if tt.stopped {
					o.report(task.Started{PID: 9})
					if last.spec.ID != "" || last == before {
						t.Errorf("the last task is %+v", last.spec)
					}
				} else if !slices.Equal(before.asked(), []string{"watch"}) {
					t.Errorf("the old version was asked %q", before.asked())
				}
				if got := o.Control(t.Context(), control.Request{Verb: control.List}).Services; len(got) != 1 || got[0].State != "running" {
					t.Errorf("services %+v", got)
				}
				o.stop()
			})
		})
	}
}
