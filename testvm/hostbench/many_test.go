package hostbench

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/timeline"
	"keelson/testvm/tier"
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
	s := bootMany(t, many)
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

// A thousand services start and stop.
func TestThousand(t *testing.T) {
	tier.Long(t)
	begin := time.Now()
	s := bootMany(t, 1000)
	t.Logf("ready after %v", time.Since(begin))
	begin = time.Now()
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("down after %v", time.Since(begin))
}

// bootMany boots with so many services, which all must run.
func bootMany(t *testing.T, count int) *system {
	t.Helper()
	s := boot(t, count)
	if e := s.Stage(timeline.Ready, timeline.Degraded); e.Stage != timeline.Ready || e.Result != fmt.Sprintf("%d services running", count) {
		t.Fatalf("got %v", e)
	}
	return s
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
