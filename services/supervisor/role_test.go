package supervisor

import (
	"testing"
	"testing/synctest"

	"keelson/runtime/timeline"
	"keelson/services/control"
)

// A bundle of the rescue role is no service, neither at the boot nor by an order.
func TestRescueBundleIsNoService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": `"keelson.after":"shell"`, "shell": `"keelson.role":"rescue"`})
		defer r.stop()
		r.is(t, "a", "running", 0)
		if v := r.Control(t.Context(), control.Request{Verb: control.List}); len(v.Services) != 1 {
			t.Errorf("services %+v", v.Services)
		}
		if v := r.Control(t.Context(), control.Request{Verb: control.Start, Names: []string{"shell"}}); v.Code != control.CodeNotFound {
			t.Errorf("its start: %+v", v)
		}
		if ready := r.results(timeline.Ready); len(ready) != 1 || ready[0] != "1 services running" {
			t.Errorf("ready: %q", ready)
		}
	})
}
