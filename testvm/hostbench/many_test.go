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
	rest = 10 * time.Second // in which nothing may wake up
	// tries are for what must wake up now and then: Go's runtime every two
	// minutes, and the supervisor, which asks containerd every minute whether it
	// lives.
	tries = 3
)

// A hundred services come up side by side, each once, and go down again. While
// they run and nothing happens, nothing of ours wakes up.
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
	s.atRest()
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// atRest wants no wake-up within some time.
func (s *system) atRest() map[string]int {
	s.t.Helper()
	watched := map[string]int{"PID 1": s.PID(), "supervisor": s.one("service").pid}
	var woken map[string]int
	for range tries {
		time.Sleep(time.Second) // The last event is not the last thing done.
		woken = map[string]int{}
		for name, pid := range watched {
			woken[name] = -wakeUps(s.t, pid)
		}
		time.Sleep(rest)
		total := 0
		for name, pid := range watched {
			woken[name] += wakeUps(s.t, pid)
			total += woken[name]
		}
		if total == 0 {
			return woken
		}
	}
	s.t.Errorf("wake-ups in %v at rest: %v", rest, maps.Clone(woken))
	return woken
}
