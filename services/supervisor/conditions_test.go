package supervisor

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/condition"
	"keelson/runtime/timeline"
	"keelson/services/control"
)

// fakeConditions are conditions that a test meets.
type fakeConditions struct {
	mu      sync.Mutex
	changed func(map[condition.Condition]bool)
	wanted  []condition.Condition
	met     map[string]bool
}

func (f *fakeConditions) watch(changed func(map[condition.Condition]bool)) (Conditions, error) {
	f.changed = changed
	return f, nil
}

func (f *fakeConditions) Run(ctx context.Context, _ func(error)) {
	f.report()
	<-ctx.Done()
}

func (f *fakeConditions) Want(all []condition.Condition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = all
}

func (f *fakeConditions) report() {
	f.mu.Lock()
	met := map[condition.Condition]bool{}
	for _, c := range f.wanted {
		met[c] = f.met[c.String()]
	}
	f.mu.Unlock()
	f.changed(met)
}

// set changes which conditions are met.
func (f *fakeConditions) set(met ...string) {
	f.mu.Lock()
	f.met = map[string]bool{}
	for _, c := range met {
		f.met[c] = true
	}
	f.mu.Unlock()
	f.report()
	synctest.Wait()
}

// Services wait for conditions; the boot does not. Only those that require a condition are
// stopped when it is not met any more.
func TestConditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r := newRig(t, f, map[string]string{
			"plain": "", "after": `"keelson.after":"plain,device:/dev/tty1,mount:/data"`, "needs": `"keelson.requires":"device:/dev/tty1"`,
			"clock": "", "named": `"keelson.after":"clock"`, // A service may have such a name.
			"later": `"keelson.after":"needs"`,
		})
		if got := r.results(timeline.Ready); !reflect.DeepEqual(got, []string{"3 services running, 3 waiting for a condition"}) {
			t.Errorf("ready %q", got)
		}
		if v := r.is(t, "after", "waiting", 0); v.Status != "waits for device:/dev/tty1 mount:/data" || v.Error != "" || fmt.Sprint(v.Conditions) != "[!device:/dev/tty1 !mount:/data]" {
			t.Errorf("status %+v", v)
		}
		// A client learns why the service does not start yet.
		if answer := r.Control(t.Context(), control.Request{Verb: control.Start, Names: []string{"needs"}}); answer.Code != control.CodeFailed || !strings.Contains(answer.Error, "needs: waits for device:/dev/tty1; it is started when that is there") {
			t.Errorf("start: %+v", answer)
		}
		r.conditions.set("device:/dev/tty1")
		r.is(t, "needs", "running", 0)
		r.is(t, "later", "running", 0)
		if v := r.is(t, "after", "waiting", 0); v.Status != "waits for mount:/data" || fmt.Sprint(v.Conditions) != "[device:/dev/tty1 !mount:/data]" {
			t.Errorf("status %+v", v)
		}
		r.conditions.set("device:/dev/tty1", "mount:/data")
		r.is(t, "after", "running", 0)
		r.conditions.set("mount:/data")
		if v := r.is(t, "needs", "waiting", 0); v.Status != "waits for device:/dev/tty1" {
			t.Errorf("status %+v", v)
		}
		r.is(t, "after", "running", 0)
		r.conditions.set("device:/dev/tty1", "mount:/data")
		r.is(t, "needs", "running", 0)
		// A crash while the condition is not met: it starts when it is.
		r.conditions.set()
		r.conditions.set("mount:/data")
		r.is(t, "needs", "waiting", 0)
		if answer := r.Control(t.Context(), control.Request{Verb: control.Stop, Names: []string{"needs"}}); answer.Code != 0 {
			t.Errorf("stop: %+v", answer)
		}
		r.conditions.set("device:/dev/tty1")
		r.is(t, "needs", "stopped", 0)
		r.stop()
		if want := "+needs -needs +needs -needs"; only(r.changes(), "needs") != want {
			t.Errorf("needs: %q, want %q", only(r.changes(), "needs"), want)
		}
	})
}

// A service that is being stopped stays so when a condition that it requires ends meanwhile.
func TestConditionEndsWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		clear(f.obeys)
		r := newRig(t, f, map[string]string{"needs": `"keelson.requires":"device:/dev/tty1","keelson.stop.timeout":"10s"`})
		defer r.stop()
		r.conditions.set("device:/dev/tty1")
		r.is(t, "needs", "running", 0)
		answer := make(chan control.Response, 1)
		go func() {
			answer <- r.Control(t.Context(), control.Request{Verb: control.Stop, Names: []string{"needs"}})
		}()
		r.is(t, "needs", "stopping", 0)
		r.conditions.set()
		time.Sleep(20 * time.Second)
		if a := <-answer; a.Code != 0 {
			t.Errorf("stop: %+v", a)
		}
		r.conditions.set("device:/dev/tty1")
		r.is(t, "needs", "stopped", 0)
	})
}

func only(changes []string, name string) string {
	var own []string
	for _, c := range changes {
		if c[1:] == name {
			own = append(own, c)
		}
	}
	return strings.Join(own, " ")
}
