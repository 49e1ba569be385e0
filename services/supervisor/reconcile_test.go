package supervisor

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/control"
)

// changes returns the starts and stop signals so far.
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
		clear(f.obeys)
		r := newRig(t, f, map[string]string{
			"a": `"keelson.stop.timeout":"3s"`, "b": `"keelson.stop.timeout":"3s"`, "c": `"keelson.stop.timeout":"3s","keelson.after":"a"`,
		})
		begin := time.Now()
		r.stop()
		if took := time.Since(begin); took != 6*time.Second {
			t.Errorf("the stop took %v: b waits for none, a for c", took)
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
			"lost": `"keelson.requires":"none"`, "later": `"keelson.after":"lost,none"`,
		})
		defer r.stop()
		r.is(t, "web", "running", 0)
		r.is(t, "later", "running", 0)
		if v := r.is(t, "lost", "waiting", 0); !strings.Contains(v.Error, "requires none, which this image does not have") {
			t.Errorf("status %+v", v)
		}
		// The failure of a service does not stop those that require it;
		r.task("db") <- 1
		r.is(t, "db", "failed", 0)
		r.is(t, "web", "running", 0)
		// but they do not start again, and say what they wait for;
		r.task("web") <- 1
		time.Sleep(time.Second)
		if v := r.is(t, "web", "waiting", 1); v.Status != "requires db, which is failed" {
			t.Errorf("status %+v", v)
		}
		// they start when it runs.
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
		// An order to stop a service stops those that require it first.
		if answer := r.Control(t.Context(), control.Request{Verb: control.Stop, Names: []string{"db"}}); answer.Code != 0 {
			t.Errorf("stop: %+v", answer)
		}
		r.is(t, "db", "stopped", 0)
		r.is(t, "web", "stopped", 0)
		r.is(t, "log", "running", 0)
		if got := r.changes()[3:]; !reflect.DeepEqual(got, []string{"-web", "-db"}) {
			t.Errorf("order %v", got)
		}
		// An order to start a service starts those that it requires.
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
		r.healthy.Store("db", true)
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
		r.healthy.Store("db", true)
		time.Sleep(time.Minute)
		r.is(t, "db", "running", 0)
		r.healthy.Delete("db")
		time.Sleep(2 * time.Second)
		v := r.is(t, "db", "backoff", 1)
		if v.LastExit != "killed by SIGTERM" || !strings.Contains(v.Error, "unhealthy: ") {
			t.Errorf("status %+v", v)
		}
		r.healthy.Store("db", true)
		time.Sleep(time.Minute)
		r.is(t, "db", "running", 1)
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
