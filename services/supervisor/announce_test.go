package supervisor

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/control"
	"keelson/services/machine"
)

// A boot whose containerd does not start is announced as degraded, once for all
// supervisors. When containerd starts after all, the boot is ready.
func TestContainerdNeverStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.listens = make(chan struct{})
		r := newRig(t, f, map[string]string{"a": "", "b": ""})
		defer r.stop()
		time.Sleep(containerdTime - time.Second)
		synctest.Wait()
		if got := append(r.results(timeline.Degraded), r.results(timeline.Ready)...); len(got) != 0 {
			t.Errorf("too early: %q", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		got := r.results(timeline.Degraded)
		if len(got) != 1 || !strings.HasPrefix(got[0], "containerd does not answer after 1m0s; 2 services wait for it; log: /") {
			t.Errorf("degraded %q", got)
		}
		if !r.store.announced().degraded {
			t.Error("the next supervisor announces it again")
		}
		close(f.listens)
		synctest.Wait()
		r.is(t, "a", "running", 0)
		if got := r.results(timeline.Ready); len(got) != 1 || len(r.results(timeline.Degraded)) != 1 {
			t.Errorf("ready %q, degraded %q", got, r.results(timeline.Degraded))
		}
	})
}

// A late containerd does not degrade a boot that has been announced, or has no services.
func TestLateContainerdIsNotAnnounced(t *testing.T) {
	for name, tt := range map[string]struct {
		services map[string]string
		said     string
	}{
		"no services": {nil, ""}, "ready": {map[string]string{"a": ""}, timeline.Ready}, "degraded": {map[string]string{"a": ""}, timeline.Degraded},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.listens = make(chan struct{})
			r := newRigIn(t, f, tt.services, func(state string) {
				if err := os.MkdirAll(filepath.Join(state, "state"), 0o755); err != nil {
					t.Fatal(err)
				}
				if tt.said == "" {
					return
				}
				if err := os.WriteFile(store{dir: state}.file("."+tt.said), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			})
			defer r.stop()
			time.Sleep(10 * containerdTime)
			synctest.Wait()
			if got := r.results(timeline.Degraded); len(got) != 0 {
				t.Errorf("%s: degraded %q", name, got)
			}
			if said := r.log.String(); tt.services == nil && said != "" {
				t.Errorf("%s: %s", name, said)
			}
		})
	}
}

// A supervisor without services connects to containerd when the first is added.
func TestFirstServiceIsAddedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), nil)
		defer r.stop()
		dir := filepath.Join(r.options.Dir, "a")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"process":{"args":["x"]},"root":{"path":"rootfs"}}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if answer := r.Control(t.Context(), control.Request{Verb: control.Start, Names: []string{"a"}}); answer.Error != "" {
			t.Error(answer.Error)
		}
		r.is(t, "a", "running", 0)
	})
}

// Until containerd answers, the list shows the saved state of each service. It shows none
// as stopped that was not stopped.
func TestListWithoutContainerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.listens = make(chan struct{})
		r := newRigIn(t, f, map[string]string{"new": "", "old": ""}, func(state string) {
			text, err := json.Marshal(saved{State: machine.Running, Pid: 77, Restarts: 3, LastExit: "exited 1"})
			if err == nil {
				err = os.MkdirAll(filepath.Join(state, "state"), 0o755)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(state, "state", "old.json"), text, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		defer r.stop()
		if v := r.is(t, "new", "waiting", 0); v.Status != "containerd does not answer yet" {
			t.Errorf("new: %+v", v)
		}
		if v := r.is(t, "old", "running", 3); v.PID != 77 || v.Status != "as last known: containerd does not answer yet" {
			t.Errorf("old: %+v", v)
		}
		close(f.listens)
		if v := r.is(t, "new", "running", 0); v.Status != "" {
			t.Errorf("new: %+v", v)
		}
	})
}

// The first restart of a service whose start took longer than the delay follows
// immediately, and the event does not say "in 0s".
func TestImmediateRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.takes = time.Second
		r := newRig(t, f, map[string]string{"a": ""})
		defer r.stop()
		time.Sleep(2 * time.Second)
		r.task("a") <- 1
		synctest.Wait()
		got := strings.Join(r.results(timeline.Service), "\n")
		if !strings.Contains(got, "exited 1 (ran 1s), restart 1 immediately") {
			t.Errorf("events %q", got)
		}
	})
}

// Once a boot is over, the modules for swaps are loaded if the machine keeps versions: once, also if a
// boot is degraded, and becomes ready.
func TestWarmUp(t *testing.T) {
	for name, tt := range map[string]struct {
		dir, stage string
		after      time.Duration
		want       int
	}{
		"ready":     {"/proc/versions", timeline.Ready, warmAfter, 1}, // no tmpfs
		"early":     {"/proc/versions", timeline.Ready, warmAfter - time.Second, 0},
		"degraded":  {"/proc/versions", timeline.Degraded, warmAfter, 1},
		"in memory": {"/dev/shm/versions", timeline.Ready, warmAfter, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			warmed := 0
			s := New(Options{Versions: tt.dir, WarmUp: func() { warmed++ }})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s.ctx = ctx
			s.announceStage(timeline.Event{Stage: tt.stage})
			time.Sleep(tt.after)
			s.announceStage(timeline.Event{Stage: timeline.Ready})
			synctest.Wait()
			if warmed != tt.want {
				t.Errorf("%s: warmed up %d times, want %d", name, warmed, tt.want)
			}
		})
	}
}
