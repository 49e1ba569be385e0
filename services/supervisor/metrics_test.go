package supervisor

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"
)

// Metrics has the state of each service, and how often its containers ended.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": `"keelson.restart":"always"`, "b": ""})
		defer r.stop()
		for _, code := range []int{0, 3, 137} {
			r.task("a") <- code
			time.Sleep(time.Second)
		}
		synctest.Wait()
		all, err := r.Metrics()
		if err != nil || len(all) != 2 {
			t.Fatalf("got %+v, %v", all, err)
		}
		want := map[string]int{"success": 1, "exit": 1, "signal": 1}
		if a := all[0]; a.Name != "a" || a.State != "running" || !a.Up || !a.Ready || a.Restarts != 3 || a.PID == 0 || !maps.Equal(a.Exits, want) {
			t.Errorf("got %+v, want exits %v", a, want)
		}
		if b := all[1]; b.Name != "b" || b.Restarts != 0 || len(b.Exits) != 0 {
			t.Errorf("got %+v", b)
		}
	})
}

// The next supervisor continues to count the ends of containers.
func TestExitsOutliveSupervisor(t *testing.T) {
	svc := &service{name: "a", exits: map[string]int{"oom": 2}}
	next := &service{name: "a"}
	next.restore(svc.snapshot())
	if !maps.Equal(next.exits, svc.exits) {
		t.Errorf("got %v, want %v", next.exits, svc.exits)
	}
}
