package supervisor

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"keelson/services/control"
)

// idle are services without settings.
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

// unmade is a service that waits for its turn, and how many do not.
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

// Many services are made by a few at a time, and no processor is idle meanwhile.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.takes = time.Second
		at := cap(newTurns())
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

// Those that take long do not hold up others for long, and one that waits for
// its turn can be stopped.
func TestTurnsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.takes = launchTime / 2
		at := cap(newTurns())
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
		time.Sleep(turnTime)
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
