package supervisor

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"keelson/services/control"
	"keelson/services/task"
)

// idle returns services without settings.
func idle(count int) map[string]string {
	all := map[string]string{}
	for i := range count {
		all[fmt.Sprintf("s%03d", i)] = ""
	}
	return all
}

// states counts services by state.
func (r *rig) states(t *testing.T) map[string]int {
	synctest.Wait()
	count := map[string]int{}
	for _, v := range r.Control(t.Context(), control.Request{Verb: control.List}).Services {
		count[v.State]++
	}
	return count
}

// unmade returns a service that waits for a slot, and how many containers are being made.
func (f *fake) unmade(names map[string]string) (waits string, making int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range names {
		if !f.making[name] {
			waits = name
		}
	}
	return waits, len(f.making)
}

// Containers are made a few at a time, and no slot is free while others wait.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.takes = time.Second
		at := task.Slots()
		r := newRig(t, f, idle(10*at))
		defer r.stop()
		for i := range 10 {
			if got := r.states(t); got["running"] != i*at || got["starting"] != (10-i)*at {
				t.Errorf("after %d s: %v", i, got)
			}
			if _, making := f.unmade(nil); making != at {
				t.Errorf("after %d s %d are being made, want %d", i, making, at)
			}
			time.Sleep(f.takes)
		}
		if got := r.states(t); got["running"] != 10*at {
			t.Errorf("in the end: %v", got)
		}
	})
}

// A container that takes long does not delay others for long, and a service that waits
// for a slot can be stopped.
func TestSlotsAreFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.takes = task.StartTime / 2
		at := task.Slots()
		names := idle(at + 2)
		r := newRig(t, f, names)
		defer r.stop()
		waits, making := f.unmade(names)
		if making != at {
			t.Errorf("%d are being made, want %d", making, at)
		}
		if answer := r.Control(t.Context(), control.Request{Verb: control.Stop, Names: []string{waits}}); answer.Code != 0 {
			t.Errorf("stop: %+v", answer)
		}
		r.is(t, waits, "stopped", 0)
		time.Sleep(task.SlotTime)
		synctest.Wait()
		if _, making := f.unmade(names); making != at+1 {
			t.Errorf("%d are being made, want %d", making, at+1)
		}
		time.Sleep(f.takes)
		if got := r.states(t); got["running"] != at+1 {
			t.Errorf("in the end: %v", got)
		}
	})
}
