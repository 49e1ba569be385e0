package supervisor

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keelson/services/control"
)

// A stop that a later order undoes is answered.
func TestStopIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		delete(f.obeys, syscall.SIGTERM)
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

// The supervisor forgets the order of a client that has disconnected.
func TestClientThatHasGone(t *testing.T) {
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
			t.Errorf("%d orders are waited for", n)
		}
	})
}

// A signal reaches the process of a service; mistakes are answered.
func TestKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": "", "b": ""})
		defer r.stop()
		r.is(t, "a", "running", 0)
		kill := func(signal string, names ...string) control.Response {
			return r.Control(t.Context(), control.Request{Verb: control.Kill, Names: names, Signal: signal})
		}
		for want, got := range map[int][]control.Response{
			control.CodeUsage:    {kill("nothing", "a"), kill("0", "a"), kill("HUP"), kill("HUP", "a", "b")},
			control.CodeNotFound: {kill("HUP", "c")},
			control.CodeOK:       {kill("KILL", "a")},
		} {
			for _, answer := range got {
				if answer.Code != want || (answer.Error == "") != (want == 0) {
					t.Errorf("%+v, want %d", answer, want)
				}
			}
		}
		r.is(t, "a", "backoff", 1)
		if answer := r.Control(t.Context(), control.Request{Verb: control.Stop, Names: []string{"b"}}); answer.Code != 0 {
			t.Errorf("stop: %+v", answer)
		}
		if answer := kill("HUP", "b"); answer.Code != control.CodeFailed {
			t.Errorf("a service that does not run: %+v", answer)
		}
	})
}
