package cli

import (
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/control"
)

func TestSince(t *testing.T) {
	now := time.Unix(1e9, 0)
	for want, ago := range map[string]time.Duration{"0.5s": 500 * time.Millisecond, "1m5s": 65 * time.Second, "3d": 75 * time.Hour, "0.0s": -time.Hour} {
		if got := since(now.Add(-ago), now); got != want {
			t.Errorf("%v: %s", ago, got)
		}
	}
}

func TestFailedOnboot(t *testing.T) {
	onboot := func(name, result, note string) timeline.Event {
		return timeline.Event{Stage: timeline.Onboot, Name: name, Result: result, Took: time.Second, Note: note}
	}
	gone := onboot("003-d", "exited 1", "2 attempts failed, continuing (by default)")
	broken := onboot("001-b", "failed: no such file", "continuing (keelson.on-failure=continue)")
	got := failedOnboot([]timeline.Event{
		onboot("000-a", "exited 0", ""), broken,
		onboot("002-c", "exited 3", "attempt 2 of 2 in 1s (keelson.retries=1)"), onboot("002-c", "exited 0", "it took 2 attempts"),
		onboot("003-d", "exited 1", "attempt 2 of 2 in 1s (keelson.retries=1)"), gone,
		{Stage: timeline.Service, Name: "x", Result: "failed: y", Note: "z"},
	})
	if !slices.Equal(got, []timeline.Event{broken, gone}) {
		t.Errorf("%v", got)
	}
}

// status shows the sockets that are kept for a service; list does not.
func TestShowSockets(t *testing.T) {
	services := []control.Service{{Name: "db", State: "failed"}, {Name: "web", State: control.Running, Sockets: []string{"tcp:80", "unix:/run/web.sock"}}}
	for _, c := range []struct{ args, want string }{
		{"status web db", "web: sockets tcp:80 unix:/run/web.sock\n"}, {"list", "CPU  STATUS\n"},
	} {
		app, out, diag := appFor(t, services)
		app.Run(t.Context(), strings.Fields(c.args))
		if !strings.Contains(out.String(), c.want) || strings.Contains(out.String(), "sockets") != strings.HasPrefix(c.args, "status") {
			t.Errorf("%s: %q, %q", c.args, out, diag)
		}
	}
}
