package hostbench

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/timeline"
)

const (
	many = 100
	idle = 10 * time.Second // without a wake-up
	// Several attempts are necessary because Go's runtime wakes up every two minutes, and
	// the supervisor pings containerd every minute.
	tries = 3
)

// A hundred services start in parallel, each once, and stop. While nothing happens, PID 1
// and the supervisor do not wake up.
func TestMany(t *testing.T) {
	s := boot(t, many)
	if e := s.Stage(timeline.Ready, timeline.Degraded); e.Stage != timeline.Ready || e.Result != fmt.Sprintf("%d services running", many) {
		t.Fatalf("got %v", e)
	}
	started := map[string]int{}
	for _, e := range s.events() {
		if e.Stage == timeline.Service && e.Result == "running" {
			started[e.Name]++
		}
	}
	for i := range many {
		if started[name(i)] != 1 {
			t.Errorf("%s was started %d times", name(i), started[name(i)])
		}
	}
	s.idleWakeUps()
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// idleWakeUps returns the wake-ups within some time, and fails the test if there are any.
func (s *system) idleWakeUps() map[string]int {
	s.t.Helper()
	watched := map[string]int{"PID 1": s.PID(), "supervisor": s.one("service").pid}
	var woken map[string]int
	for range tries {
		time.Sleep(time.Second) // Work continues after the last event.
		woken = map[string]int{}
		for name, pid := range watched {
			woken[name] = -wakeUps(s.t, pid)
		}
		time.Sleep(idle)
		total := 0
		for name, pid := range watched {
			woken[name] += wakeUps(s.t, pid)
			total += woken[name]
		}
		if total == 0 {
			return woken
		}
	}
	s.t.Errorf("wake-ups in %v while idle: %v", idle, maps.Clone(woken))
	return woken
}
