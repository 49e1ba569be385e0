package events

import (
	"encoding/json"
	"testing"
	"time"
)

func TestString(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7e6, time.UTC)
	for want, e := range map[string]Event{
		"2026-02-03T04:05:06.007Z service web: starting -> activating, pid 7": {Time: at, Kind: Service, Name: "web", From: "starting", To: "activating", PID: 7},
		"2026-02-03T04:05:06.007Z service web: running -> backoff, killed by SIGKILL (out of memory), no answer, pid 7, restarts 2, container web.image, version sha256:0123456789ab": {
			Time: at, Kind: Service, Name: "web", From: "running", To: "backoff", Text: "no\nanswer", PID: 7, Restarts: 2, Container: "web.image",
			Exit: &Exit{Code: 137, Signal: "SIGKILL", OOM: true}, Version: "sha256:0123456789abcdef",
		},
		"2026-02-03T04:05:06.007Z swap web: probation -> committing, version removed, by user 0, after 1.5s": {
			Time: at, Kind: Swap, Name: "web", From: "probation", To: "committing", Version: "removed", By: "user 0", Took: 1500 * time.Millisecond,
		},
		"2026-02-03T04:05:06.007Z containerd: lost":                                {Time: at, Kind: Containerd, To: "lost"},
		"2026-02-03T04:05:06.007Z service a: [31mred, exited, status unknown":      {Time: at, Kind: Service, Name: "a", To: "\x1b[31mred", Exit: &Exit{Code: -1, Unknown: true}},
		"2026-02-03T04:05:06.007Z stage kernel":                                    {Time: at, Kind: Stage, Name: "kernel"},
		"2026-02-03T04:05:06.007Z onboot 000-dhcp: exited 1; continuing, after 5s": {Time: at, Kind: Onboot, Name: "000-dhcp", Text: "exited 1; continuing", Took: 5 * time.Second},
	} {
		if got := e.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// A gap has a kind in its JSON, as events have.
func TestGapJSON(t *testing.T) {
	j := journalIn("")
	fill(j, 1, 1)
	after := j.Last()
	fill(j, 2, 2*CountLimit)
	text, err := json.Marshal(j.Subscribe(after, Filter{}).Read().Gap)
	if want := `{"kind":"gap","after":"9f3c21aa.5001","next":"9f3c21aa.6026","missed":1024}`; err != nil || string(text) != want {
		t.Errorf("got %s, %v; want %s", text, err, want)
	}
}
