package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/bundle"
	"keelson/services/connection"
	"keelson/services/control"
	"keelson/services/machine"
	"keelson/services/task"
)

// When containerd refuses to wait for a container, the call is repeated every second, and
// each reason is logged once.
func TestWaitRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.noWait = errors.New("no such container")
		r := newRig(t, f, map[string]string{"a": ""})
		defer r.stop()
		reports := func() int {
			synctest.Wait()
			return strings.Count(r.log.String(), "cannot wait for the end of a service")
		}
		time.Sleep(time.Minute)
		if n := reports(); n != 1 {
			t.Errorf("reported %d times in a minute:\n%s", n, r.log.String())
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

// newRigAfter is newRig with states that an earlier supervisor has saved.
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

// Offers of sockets that a supervisor has left when it was killed are removed, but for those of
// services, which the next start replaces.
func TestOffersOfEarlierSupervisor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dir string
		r := newRigIn(t, newFake(), map[string]string{"a": ""}, func(state string) {
			dir = filepath.Join(state, "sockets")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{"a", "a.0123456789ab", "gone"} {
				if err := os.WriteFile(filepath.Join(dir, id), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
		defer r.stop()
		synctest.Wait()
		r.is(t, "a", "running", 0)
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 1 || left[0].Name() != "a" {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// Kept sockets of a service whose removal an earlier supervisor has committed are closed.
func TestSocketsOfRemovedService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &owner{fakeTasks: &fakeTasks{}}
		dir := t.TempDir()
		put(t, filepath.Join(dir, "services/a/config.json"), `{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"}}`)
		o.configure(t, dir, newFake())
		if err := o.sockets.Open("gone", []bundle.Socket{{Network: "unix", Path: filepath.Join(dir, "socket")}}); err != nil {
			t.Fatal(err)
		}
		o.removed = []string{"gone"}
		o.serve(t)
		defer o.stop()
		o.is(t, machine.Starting, 1)
		if left := o.sockets.List("gone"); len(left) > 0 {
			t.Errorf("left: %v", left)
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
