package supervisor

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/services/pressure"
	"keelson/services/task"
)

// A service that runs may be restarted when memory is short, unless its settings forbid it. It is
// restarted like one that is unhealthy, with the reason.
func TestMemoryPressure(t *testing.T) {
	const why = "memory is short"
	for settings, may := range map[string]bool{
		"": true, `"keelson.restart":"always"`: true, `"keelson.pressure":"restart"`: true,
		`"keelson.pressure":"never"`: false, `"keelson.restart":"never"`: false,
	} {
		t.Run(settings, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOwner(t, settings)
				defer func() { o.stop() }()
				shed := func() []pressure.Service {
					all, err := o.Sheddable()
					if err != nil {
						t.Error(err)
					}
					return all
				}
				if got := shed(); len(got) > 0 {
					t.Errorf("a service that starts: %+v", got)
				}
				o.report(task.Started{PID: 7})
				got := shed()
				if (len(got) == 1) != may {
					t.Fatalf("%+v", got)
				}
				o.newEvents()
				if !may {
					if err := o.Relieve(pressure.Service{Name: "a", PID: 7}, why); err == nil {
						t.Error("it is restarted")
					}
					o.wantEvents(t)
					return
				}
				for _, other := range []pressure.Service{{Name: "a", PID: 8}, {Name: "b", PID: 7}} {
					if err := o.Relieve(other, why); err == nil || !strings.Contains(err.Error(), other.Name) {
						t.Errorf("%+v: %v", other, err)
					}
				}
				if got[0].Name != "a" || got[0].PID != 7 {
					t.Errorf("%+v", got[0])
				}
				if err := o.Relieve(got[0], why); err != nil {
					t.Error(err)
				}
				o.wantEvents(t, "pressure a > | memory is short", "service a running>failing | memory pressure: memory is short")
				if got := shed(); len(got) > 0 {
					t.Errorf("a service that is stopped: %+v", got)
				}
				o.report(task.Ended{Exit: task.Exit{Code: 143}})
				o.wantEvents(t, "service a failing>backoff code 143 SIGTERM oom false pid 7 | memory pressure: memory is short")
				time.Sleep(time.Second)
				o.wantEvents(t, "service a backoff>waiting", "service a waiting>starting")
			})
		})
	}
}
