package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/connection"
	"keelson/services/control"
	"keelson/services/machine"
	"keelson/services/task"
)

// changes are the starts and stop signals so far.
func (f *fake) changes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.order...)
}

func TestStartAndStopOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{
			"a": `"keelson.after":"b,sidecar"`, "b": `"keelson.requires":"c"`, "c": `"keelson.after":"sidecar"`, "sidecar": "",
		})
		if got := r.results(timeline.Ready); !reflect.DeepEqual(got, []string{"4 services running"}) {
			t.Errorf("ready %q", got)
		}
		r.stop()
		want := []string{"+sidecar", "+c", "+b", "+a", "-a", "-b", "-c", "-sidecar"}
		if got := r.changes(); !reflect.DeepEqual(got, want) {
			t.Errorf("order %v, want %v", got, want)
		}
	})
}

func TestIndependentServicesDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		clear(f.heed)
		r := newRig(t, f, map[string]string{
			"a": `"keelson.stop.timeout":"3s"`, "b": `"keelson.stop.timeout":"3s"`, "c": `"keelson.stop.timeout":"3s","keelson.after":"a"`,
		})
		begin := time.Now()
		r.stop()
		if took := time.Since(begin); took != 6*time.Second {
			t.Errorf("the stop took %v: b waits for nobody, a for c", took)
		}
	})
}

func TestCycleIsReportedAndUnwound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": `"keelson.after":"b"`, "b": `"keelson.after":"a"`, "c": ""})
		r.is(t, "a", "running", 0)
		r.is(t, "b", "running", 0)
		r.stop()
		if len(r.warned) != 1 {
			t.Errorf("warnings %v", r.warned)
		}
	})
}

func TestRequirementDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{
			"web":  `"keelson.requires":"db"`,
			"db":   `"keelson.restart":"never"`,
			"lost": `"keelson.requires":"nobody"`, "glad": `"keelson.after":"lost,nobody"`,
		})
		defer r.stop()
		r.is(t, "web", "running", 0)
		r.is(t, "glad", "running", 0)
		if v := r.is(t, "lost", "waiting", 0); !strings.Contains(v.Error, "requires nobody, which this image does not have") {
			t.Errorf("status %+v", v)
		}
		// What fails does not take those down that run.
		r.task("db") <- 1
		r.is(t, "db", "failed", 0)
		r.is(t, "web", "running", 0)
		// But whoever is started then has to wait, and says for what;
		r.task("web") <- 1
		time.Sleep(time.Second)
		if v := r.is(t, "web", "waiting", 1); v.Status != "requires db, which is failed" {
			t.Errorf("status %+v", v)
		}
		// it goes on by itself.
		if answer := r.Control(t.Context(), control.Request{Verb: control.Restart, Names: []string{"db"}}); answer.Code != 0 {
			t.Errorf("restart: %+v", answer)
		}
		r.is(t, "web", "running", 1)
	})
}

func TestOrdersFollowRequirements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"web": `"keelson.requires":"db"`, "db": "", "log": `"keelson.after":"db"`})
		defer r.stop()
		// To stop a service stops those that require it, before.
		if answer := r.Control(t.Context(), control.Request{Verb: control.Stop, Names: []string{"db"}}); answer.Code != 0 {
			t.Errorf("stop: %+v", answer)
		}
		r.is(t, "db", "stopped", 0)
		r.is(t, "web", "stopped", 0)
		r.is(t, "log", "running", 0)
		if got := r.changes()[3:]; !reflect.DeepEqual(got, []string{"-web", "-db"}) {
			t.Errorf("order %v", got)
		}
		// To start one starts what it requires.
		if answer := r.Control(t.Context(), control.Request{Verb: control.Start, Names: []string{"web"}}); answer.Code != 0 {
			t.Errorf("start: %+v", answer)
		}
		r.is(t, "web", "running", 0)
		r.is(t, "db", "running", 0)
		if got := r.changes()[5:]; !reflect.DeepEqual(got, []string{"+db", "+web"}) {
			t.Errorf("order %v", got)
		}
	})
}

func TestDependentWaitsForReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"web": `"keelson.after":"db"`, "db": `"keelson.ready":"exec:/bin/ok"`})
		defer r.stop()
		r.is(t, "db", "activating", 0)
		if v := r.is(t, "web", "waiting", 0); v.Status != "waits for db, which is activating" {
			t.Errorf("status %+v", v)
		}
		r.well.Store("db", true)
		time.Sleep(2 * time.Second)
		r.is(t, "db", "running", 0)
		r.is(t, "web", "running", 0)
		if got := r.results(timeline.Ready); len(got) != 1 {
			t.Errorf("ready %q", got)
		}
	})
}

func TestNeverReadyIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{
			"db": `"keelson.ready":"exec:/bin/ok","keelson.ready.timeout":"5s","keelson.restart.limit":"1/1m"`,
		})
		defer r.stop()
		time.Sleep(6 * time.Second)
		if v := r.is(t, "db", "activating", 1); !strings.Contains(v.Error, "not yet") {
			t.Errorf("the reason is not kept: %+v", v)
		}
		time.Sleep(6 * time.Second)
		if v := r.is(t, "db", "failed", 1); !strings.Contains(v.Error, "not yet") {
			t.Errorf("status %+v", v)
		}
		if got := r.results(timeline.Degraded); len(got) != 1 {
			t.Errorf("degraded %q", got)
		}
	})
}

func TestUnhealthyIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r := newRig(t, f, map[string]string{
			"db": `"keelson.health":"exec:/bin/ok","keelson.health.interval":"1s","keelson.health.retries":"2","keelson.restart":"always"`,
		})
		defer r.stop()
		r.well.Store("db", true)
		time.Sleep(time.Minute)
		r.is(t, "db", "running", 0)
		r.well.Delete("db")
		time.Sleep(2 * time.Second)
		v := r.is(t, "db", "backoff", 1)
		if v.LastExit != "killed by SIGTERM" || !strings.Contains(v.Error, "unhealthy: ") {
			t.Errorf("status %+v", v)
		}
		r.well.Store("db", true)
		time.Sleep(time.Minute)
		r.is(t, "db", "running", 1)
	})
}

// A containerd that refuses to wait for a container is asked again every second
// and reported once for each reason.
func TestWaitRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.noWait = errors.New("no such container")
		r := newRig(t, f, map[string]string{"a": ""})
		defer r.stop()
		reports := func() int {
			synctest.Wait()
			return strings.Count(r.said.String(), "cannot wait for the end of a service")
		}
		time.Sleep(time.Minute)
		if n := reports(); n != 1 {
			t.Errorf("reported %d times in a minute:\n%s", n, r.said.String())
		}
		f.mu.Lock()
		f.noWait = errors.New("no database")
		f.mu.Unlock()
		time.Sleep(time.Minute)
		if n := reports(); n != 2 {
			t.Errorf("reported %d times for two reasons", n)
		}
		f.mu.Lock()
		f.noWait = nil
		f.mu.Unlock()
		r.task("a") <- 1
		time.Sleep(time.Second + 100*time.Millisecond)
		r.is(t, "a", "running", 1)
	})
}

func TestHungContainerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r := newRig(t, f, map[string]string{"a": "", "b": ""})
		defer r.stop()
		f.mu.Lock()
		f.hangs = true
		f.mu.Unlock()
		time.Sleep(connection.PingInterval + connection.PingTime + time.Second)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.killed != 1 {
			t.Errorf("containerd was killed %d times", f.killed)
		}
	})
}

func TestStartWaitsOutAHungContainerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hangs = true
		r := newRig(t, f, map[string]string{"a": ""})
		defer r.stop()
		time.Sleep(2 * task.StartTime)
		r.is(t, "a", "running", 0)
	})
}

func TestTakeOverGoesOn(t *testing.T) {
	for _, tt := range []struct {
		state machine.State
		there bool // the task
		want  string
	}{
		{machine.Waiting, false, "running"}, {machine.Starting, false, "running"}, {machine.Starting, true, "running"},
		{machine.Activating, true, "running"}, {machine.Running, true, "running"}, {machine.Running, false, "backoff"},
		{machine.Failing, true, "backoff"}, {machine.Stopping, true, "stopped"}, {machine.Stopping, false, "stopped"},
		{machine.Restarting, true, "running"}, {machine.Restarting, false, "running"},
		{machine.Backoff, false, "backoff"}, {machine.Exited, false, "exited"}, {machine.Failed, false, "failed"},
		{machine.Stopped, false, "stopped"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			old := saved{State: tt.state, Restarts: 7, Failures: 3, Delay: time.Second}
			if tt.state != machine.Waiting && tt.state != machine.Starting {
				old.Pid = 1<<30 + 1
			}
			if tt.there {
				f.add("a")
			}
			r := newRigAfter(t, f, map[string]string{"a": ""}, map[string]saved{"a": old})
			defer r.stop()
			synctest.Wait()
			v := r.Control(t.Context(), control.Request{Verb: control.List}).Services[0]
			if v.State != tt.want || v.Restarts < 7 {
				t.Errorf("after %s (task there: %v): %+v, want %s", tt.state, tt.there, v, tt.want)
			}
			if tt.want == "backoff" {
				time.Sleep(time.Minute)
				r.is(t, "a", "running", v.Restarts)
			}
		})
	}
}

// newRigAfter is newRig after a supervisor that has left states.
func newRigAfter(t *testing.T, f *fake, annotations map[string]string, left map[string]saved) *rig {
	t.Helper()
	return newRigIn(t, f, annotations, func(state string) {
		for name, old := range left {
			text, err := json.Marshal(old)
			if err == nil {
				err = os.MkdirAll(filepath.Join(state, "state"), 0o755)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(state, "state", name+".json"), text, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestOrdersBeforeContainerdAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hangs = true
		r := newRig(t, f, map[string]string{"a": ""})
		defer r.stop()
		answers := make(chan control.Response, 1)
		go func() {
			answers <- r.Control(context.WithoutCancel(t.Context()), control.Request{Verb: control.Stop, Names: []string{"a"}})
		}()
		synctest.Wait()
		if answer := <-answers; answer.Code != 0 {
			t.Errorf("stop: %+v", answer)
		}
		r.is(t, "a", "stopped", 0)
	})
}

func TestManyServicesAreArrangedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := map[string]string{}
		for i := range 100 {
			all[fmt.Sprintf("s%03d", i)] = fmt.Sprintf(`"keelson.after":"s%03d"`, i+1)
		}
		r := newRig(t, newFake(), all)
		r.stop()
		changes := r.changes()
		if len(changes) != 200 || changes[0] != "+s099" || changes[99] != "+s000" || changes[100] != "-s000" || changes[199] != "-s099" {
			t.Errorf("order %v", changes)
		}
	})
}

// A stop that a later order undoes is answered, and so is not waited for any
// more by who has hung up.
func TestStopIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		delete(f.heed, syscall.SIGTERM)
		r := newRig(t, f, map[string]string{"a": ""})
		defer r.stop()
		stopped := make(chan control.Response, 1)
		go func() { stopped <- r.Control(t.Context(), control.Request{Verb: control.Stop, Names: []string{"a"}}) }()
		r.is(t, "a", "stopping", 0)
		if answer := r.Control(t.Context(), control.Request{Verb: control.Start, Names: []string{"a"}}); answer.Code != 0 {
			t.Errorf("start: %+v", answer)
		}
		synctest.Wait()
		select {
		case answer := <-stopped:
			if answer.Code != control.CodeFailed || answer.Error != "a: was ordered to start again" {
				t.Errorf("stop: %+v", answer)
			}
		default:
			t.Error("the stop is not answered")
		}
	})
}

func TestWhoHangsUpIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": `"keelson.ready":"exec:never"`})
		defer r.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if answer := r.Control(ctx, control.Request{Verb: control.Start, Names: []string{"a"}}); answer.Code != control.CodeFailed {
			t.Errorf("start: %+v", answer)
		}
		r.is(t, "a", "activating", 0)
		waiting := make(chan int, 1)
		r.post(func() { waiting <- len(r.waiters) })
		if n := <-waiting; n != 0 {
			t.Errorf("%d are waited for", n)
		}
	})
}
