package supervisor

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/services/containerd"
	"keelson/services/control"
	"keelson/services/events"
	"keelson/services/machine"
	"keelson/services/task"
)

// newEvents returns the events since the last call: kind, name, states, and what else there is.
func (o *owner) newEvents() []string {
	synctest.Wait()
	if o.cursor == nil {
		o.cursor = o.journal.Subscribe(events.ID{}, events.Filter{})
	}
	var all []string
	for {
		batch := o.cursor.Read()
		if batch.Last.IsZero() {
			return all
		}
		for _, e := range batch.Events {
			all = append(all, inShort(e))
		}
	}
}

func inShort(e events.Event) string {
	text := strings.TrimSpace(string(e.Kind)+" "+e.Name) + " " + e.From + ">" + e.To
	if e.Exit != nil {
		text += fmt.Sprintf(" code %d %s oom %v pid %d", e.Exit.Code, e.Exit.Signal, e.Exit.OOM, e.PID)
	}
	for _, part := range []string{e.Container, e.By, e.Text} {
		if part != "" {
			text += " | " + part
		}
	}
	return text
}

func (o *owner) wantEvents(t *testing.T, want ...string) {
	t.Helper()
	if got := o.newEvents(); !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Each transition, result of probes, end, order and stage is one event, in the order in which
// they happen.
func TestEventsOfAService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, `"keelson.ready":"tcp:80"`)
		if got := o.newEvents(); !strings.HasPrefix(got[0], "supervisor >started | ") || !slices.Equal(got[1:], []string{
			"containerd >connected", "service a stopped>waiting", "service a waiting>starting",
		}) {
			t.Errorf("events %q", got)
		}
		o.report(task.Started{PID: 7})
		o.wantEvents(t, "service a starting>activating")
		o.report(task.Ready{})
		o.wantEvents(t, "probe a >ready", "service a activating>running", "system >ready | 1 services running")
		o.report(task.PIDsRefused{Text: "no process"}, task.Unhealthy{Err: errors.New("no answer")})
		o.wantEvents(t, "refused a > | no process", "probe a ready>unhealthy | no answer", "service a running>failing | unhealthy: no answer")
		o.report(task.OOMKilled{Count: 2}, task.Ended{Exit: task.Exit{Code: 137, OOM: true}})
		o.wantEvents(t, "oom a > | the kernel has killed processes for lack of memory: 2",
			"service a failing>backoff code 137 SIGKILL oom true pid 7 | unhealthy: no answer")
		time.Sleep(time.Second)
		o.report(task.Started{PID: 8}, task.NotReady{Err: errors.New("late")})
		o.wantEvents(t, "service a backoff>waiting", "service a waiting>starting", "service a starting>activating",
			"probe a unhealthy>not ready | late", "service a activating>failing | unhealthy: late")
		answer := o.order(t, control.Request{Verb: control.Stop, Names: []string{"a"}, Peer: "user 3"})
		o.report(task.Ended{Exit: task.Exit{Code: 1}})
		want(t, answer, "")
		o.wantEvents(t, "order a >stop | user 3", "service a failing>stopping", "service a stopping>stopped code 1  oom false pid 8")
		if o.Control(t.Context(), control.Request{Verb: control.Reboot, Peer: "user 4"}).Error != "" {
			t.Error("PID 1 was not asked")
		}
		o.wantEvents(t, "power >reboot | user 4")
		o.stop()
		if got := o.newEvents(); len(got) != 2 || !strings.HasPrefix(got[0], "supervisor >stopping") || !strings.HasPrefix(got[1], "supervisor >ending") {
			t.Errorf("events %q", got)
		}
	})
}

// An event has the fields of its service.
func TestEventFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7}, task.Ended{Exit: task.Exit{Code: 3}})
		time.Sleep(time.Second)
		o.report(task.Started{PID: 8})
		all := o.journal.Subscribe(events.ID{}, events.Filter{Kinds: []events.Kind{events.Service}}).Read().Events
		last := all[len(all)-1]
		if last.To != "running" || last.PID != 8 || last.Restarts != 1 || last.Version != "" || last.Container != "" {
			t.Errorf("got %+v", last)
		}
		o.stop()
	})
}

func TestEventsOfStartsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "services/b/config.json"), `{`)
		o := newOwnerIn(t, dir, `"keelson.requires":"b"`, newFake())
		got := slices.DeleteFunc(o.newEvents()[2:], func(line string) bool { return strings.HasPrefix(line, "service b waiting>starting") })
		for i, want := range []string{
			"service a stopped>waiting", "service b stopped>waiting", "service b starting>failed | failed: ",
			"blocked a > | requires b, which is failed", "system >degraded | 0 of 2",
		} {
			if i >= len(got) || !strings.HasPrefix(got[i], want) {
				t.Errorf("events %q, want %s at %d", got, want, i)
			}
		}
		o.stop()
	})
}

func TestEventsOfASwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		o.newEvents()
		answer := o.swap(t, "a", `"x":"1"`, false)
		o.report(task.Ended{})
		o.report(task.Started{PID: 8})
		o.wantEvents(t, "swap a >ordered | user 0 | swap", "swap a accepted>replacing | user 0",
			"service a running>restarting", "service a restarting>waiting code 0  oom false pid 7", "service a waiting>starting",
			"service a starting>activating", "service a activating>running", "swap a replacing>probation | user 0")
		time.Sleep(time.Minute)
		want(t, answer, "")
		o.wantEvents(t, "swap a probation>verifying | user 0", "swap a verifying>committing | user 0", "swap a committing>committed | user 0")

		want(t, o.swap(t, "a", "bad", false), "bad")
		o.wantEvents(t, "swap a >ordered | user 0 | swap", "swap a >refused | user 0 | swap: cannot read the artifact: bad")

		answer = o.swap(t, "a", `"x":"2"`, false)
		o.report(task.Ended{})
		o.newEvents()
		o.report(task.NotStarted{Err: errors.New("no such file")})
		got := o.newEvents()
		if got[len(got)-1] == "" || !slices.ContainsFunc(got, func(line string) bool {
			return strings.HasPrefix(line, "swap a replacing>restoring | user 0 | failed: no such file")
		}) {
			t.Errorf("events %q", got)
		}
		o.report(task.Started{PID: 9})
		want(t, answer, "no such file")
		got = o.newEvents()
		if last := got[len(got)-1]; !strings.HasPrefix(last, "swap a aborting>restored | user 0 | failed: no such file") {
			t.Errorf("events %q", got)
		}

		o.order(t, control.Request{Verb: control.Remove, Names: []string{"a"}, Peer: "user 1", Plan: true})
		o.wantEvents(t) // A plan changes nothing.
		answer = o.order(t, control.Request{Verb: control.Remove, Names: []string{"a"}, Peer: "user 1"})
		o.report(task.Ended{})
		want(t, answer, "")
		all := o.journal.Subscribe(events.ID{}, events.Filter{Kinds: []events.Kind{events.Swap}}).Read().Events
		if last := all[len(all)-1]; last.To != "committed" || last.Version != "removed" || last.By != "user 1" {
			t.Errorf("the last event is %+v", last)
		}
		o.stop()
	})
}

// A version that starts beside another one has the name of the service, and a container of its own.
func TestEventsOfOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.newEvents()
		_, _, next := o.beside(t)
		next.spec.Report(task.Started{PID: 8})
		id := instanceOf("a", target(t, overlapping))
		got := o.newEvents()
		if !slices.Contains(got, "service a starting>activating | "+id) || !slices.Contains(got, "service a activating>running") {
			t.Errorf("events %q", got)
		}
		o.stop()
	})
}

// What the supervisor before has not recorded, the next one does.
func TestEventsOfTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := newFake()
		process := f.add("a")
		put(t, filepath.Join(dir, "state/a.json"), fmt.Sprintf(`{"state":"starting","pid":%d}`, process.pid))
		o := newOwnerIn(t, dir, "", f)
		o.wantEvents(t, o.started(), "containerd >connected", "service a starting>activating | found by the next supervisor",
			"service a activating>running", "system >ready | 1 services running")
		o.stop()
	})
	synctest.Test(t, func(t *testing.T) { // It ended while no supervisor ran.
		dir := t.TempDir()
		put(t, filepath.Join(dir, "state/a.json"), `{"state":"running","pid":7}`)
		o := newOwnerIn(t, dir, "", newFake())
		o.wantEvents(t, o.started(), "containerd >connected", "service a running>backoff code -1  oom false pid 7")
		o.stop()
	})
}

// started returns the first event of this supervisor.
func (o *owner) started() string {
	return inShort(o.journal.Subscribe(events.ID{}, events.Filter{}).Read().Events[0])
}

// A connection that is lost is made again.
func TestEventsOfContainerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		o.is(t, machine.Running, 1, "watch")
		o.newEvents()
		if !o.connection.Failed(t.Context(), o.connection.Current(), containerd.ErrUnavailable) {
			t.Error("the connection is kept")
		}
		o.wantEvents(t, "containerd >lost")
		if _, err := o.connection.Get(t.Context()); err != nil {
			t.Error(err)
		}
		o.wantEvents(t, "containerd >connected")
		o.stop()
	})
}

// The supervisor before was killed during a swap: the next one undoes it.
func TestEventsOfAnInterruptedSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := newOwnerIn(t, dir, "", newFake())
		o.report(task.Started{PID: 7})
		o.swap(t, "a", `"x":"1"`, false)
		o.report(task.Ended{})
		o.stop()
		o = newOwnerIn(t, dir, "", newFake())
		if got := o.newEvents(); !slices.Contains(got, "swap a accepted>restoring | it was interrupted") {
			t.Errorf("events %q", got)
		}
		o.stop()
	})
}
