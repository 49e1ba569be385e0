package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/control"
)

func TestBackoffDoublesAndResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": ""})
		defer r.stop()
		restarts := 0
		for _, delay := range []time.Duration{100, 200, 400} {
			r.is(t, "a", "running", restarts)
			r.task("a") <- 1
			restarts++
			r.is(t, "a", "backoff", restarts)
			time.Sleep(delay*time.Millisecond - time.Millisecond)
			r.is(t, "a", "backoff", restarts)
			time.Sleep(time.Millisecond)
		}
		r.is(t, "a", "running", restarts)
		time.Sleep(10 * time.Second) // long enough to count as up
		r.task("a") <- 1
		r.is(t, "a", "backoff", restarts+1)
		time.Sleep(100 * time.Millisecond)
		r.is(t, "a", "running", restarts+1)
	})
}

func TestRestartPolicies(t *testing.T) {
	for _, tt := range []struct {
		policy string
		code   int
		state  string
	}{
		{"on-failure", 0, "exited"}, {"on-failure", 3, "backoff"}, {"always", 0, "backoff"},
		{"always", 3, "backoff"}, {"never", 0, "exited"}, {"never", 139, "failed"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, newFake(), map[string]string{"a": `"keelson.restart":"` + tt.policy + `"`})
			defer r.stop()
			r.task("a") <- tt.code
			synctest.Wait()
			v := r.Control(t.Context(), control.Request{Verb: control.List}).Services[0]
			if v.State != tt.state {
				t.Errorf("%s after code %d: %+v, want %s", tt.policy, tt.code, v, tt.state)
			}
		})
	}
}

func TestRestartLimitEndsInFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": `"keelson.restart.limit":"2/1m"`})
		defer r.stop()
		for range 2 {
			r.task("a") <- 1
			time.Sleep(time.Second)
		}
		r.task("a") <- 1
		if v := r.is(t, "a", "failed", 2); v.Error == "" {
			t.Error("no reason is given")
		}
	})
}

func TestStopTimesOutIntoKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		delete(f.obeys, syscall.SIGTERM)
		r := newRig(t, f, map[string]string{"a": `"keelson.stop.timeout":"3s"`})
		begin := time.Now()
		r.stop()
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

func TestAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": "", "b": brokenBundle})
		if got := r.results(timeline.Degraded); !reflect.DeepEqual(got, []string{"1 of 2 services running; failed: b"}) {
			t.Errorf("degraded %q", got)
		}
		r.is(t, "b", "failed", 0)
		// When the bundle is repaired, all services run; that is announced too.
		path := filepath.Join(r.options.Dir, "b", "config.json")
		if err := os.WriteFile(path, []byte(`{"process":{"args":["x"]},"root":{"path":"rootfs"}}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if answer := r.Control(t.Context(), control.Request{Verb: control.Start, Names: []string{"b"}}); answer.Code != 0 {
			t.Errorf("start: %+v", answer)
		}
		r.stop()
		if got := r.results(timeline.Ready); !reflect.DeepEqual(got, []string{"2 services running"}) {
			t.Errorf("ready %q", got)
		}
	})
}

func TestNoServicesAreReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), nil)
		r.stop()
		if got := r.results(timeline.Ready); !reflect.DeepEqual(got, []string{"0 services running"}) {
			t.Errorf("ready %q", got)
		}
	})
}

func TestStartThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.refuse = errors.New("no such file")
		r := newRig(t, f, map[string]string{"a": ""})
		defer r.stop()
		if v := r.is(t, "a", "backoff", 1); v.Error != "failed: no such file" {
			t.Errorf("status %+v", v)
		}
		if got := r.results(timeline.Degraded); len(got) != 1 {
			t.Errorf("degraded %q", got)
		}
		f.mu.Lock()
		f.refuse = nil
		f.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
		if v := r.is(t, "a", "running", 1); v.Error != "" {
			t.Errorf("status %+v", v)
		}
		if got := r.results(timeline.Service); got[0] != "failed: no such file, restart 1 in 100ms; the same failure is not reported again" {
			t.Errorf("events %q", got)
		}
	})
}

// Each attempt to create a task gets FIFOs that no shim of an earlier attempt has open.
func TestContainerdDiesInCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.dies = 2
		r := newRig(t, f, map[string]string{"a": ""})
		defer r.stop()
		r.is(t, "a", "running", 0)
		if f.again != 2 {
			t.Errorf("output was prepared again %d times, want 2", f.again)
		}
	})
}

// Two services with the same log would overwrite each other's lines: the second is not
// started, and the console says why.
func TestNamesThatClash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": "", "a.out": "", "containerd": ""})
		defer r.stop()
		r.is(t, "a", "running", 0)
		v := r.is(t, "a.out", "failed", 0)
		if want := "failed: services a and a.out share the file /var/log/a.out.log: rename one of them"; v.Error != want {
			t.Errorf("reason %q", v.Error)
		}
		r.is(t, "containerd", "failed", 0)
		if r.created != 1 {
			t.Errorf("%d tasks were made", r.created)
		}
	})
}

func TestOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": "", "b": ""})
		defer r.stop()
		for _, tt := range []struct {
			verb, name, state string
			code, created     int
		}{
			{control.Start, "a", "running", 0, 2}, // runs already
			{control.Restart, "a", "running", 0, 3},
			{control.Stop, "a", "stopped", 0, 3},
			{control.Stop, "a", "stopped", 0, 3},
			{control.Restart, "a", "running", 0, 4},
			{control.Start, "none", "", control.CodeNotFound, 4},
			{control.Start, "../services/a", "", control.CodeNotFound, 4},
			{"dance", "a", "running", control.CodeUsage, 4},
			{control.PowerOff, "", "", control.CodeFailed, 4}, // the rig refuses
		} {
			answer := r.Control(t.Context(), control.Request{Verb: tt.verb, Names: []string{tt.name}})
			if answer.Code != tt.code || r.created != tt.created {
				t.Errorf("%s %s: %+v, %d created; want %+v", tt.verb, tt.name, answer, r.created, tt)
			}
			if tt.state != "" {
				r.is(t, tt.name, tt.state, 0)
			}
		}
	})
}

func TestNextSupervisorTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add("a")
		r := newRig(t, f, map[string]string{"a": "", "b": ""})
		defer r.stop()
		r.is(t, "a", "running", 0)
		if f.created != 2 {
			t.Errorf("%d tasks, want the one of a that was there, and b's", f.created)
		}
	})
}

func TestStopDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": `"keelson.stop.timeout":"90s"`, "b": ""})
		r.stop()
		text, err := os.ReadFile(filepath.Join(r.options.StateDir, "stop-deadline"))
		if d, perr := time.ParseDuration(string(text[:max(0, len(text)-1)])); err != nil || perr != nil || d != 95*time.Second {
			t.Errorf("stop-deadline holds %q, %v", text, err)
		}
	})
}
