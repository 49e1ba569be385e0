package pid1

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/testvm/nstest"
)

// bootEvents are events of a boot with an onboot container and a service, in their order.
var bootEvents = []string{
	"stage kernel ", "onboot 000-one ", "supervisor  started", "containerd  connected", "service web waiting", "service web starting",
	"service web activating", "service web running", "system  ready",
}

// The journal of events begins with the boot. The supervisor after one that was killed continues
// it, and does not repeat the boot.
func TestEventsOfABoot(t *testing.T) {
	dir := system(t, nil)
	container(t, dir, "/containers/onboot/000-one", "exit 3")
	container(t, dir, "/containers/services/web", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done")
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Stage(timelineReady...)
	checkEvents(t, s.Output("/usr/bin/service", "events", "--json"), bootEvents)
	before := s.Named("service", "supervise")
	kill(t, s, "service", "supervise")
	restarted(t, s, before, "service", "supervise")
	all := ""
	for deadline := time.Now().Add(time.Minute); strings.Count(all, `"kind":"containerd"`) < 2 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		all = s.Output("/usr/bin/service", "events", "--json")
	}
	checkEvents(t, all, append(bootEvents, "supervisor  started", "containerd  connected"))
	if n := strings.Count(all, `"kind":"onboot"`); n != 1 {
		t.Errorf("%d events of onboot containers in\n%s", n, all)
	}
	s.Output("/usr/bin/service", "restart", "web")
	checkEvents(t, s.Output("/usr/bin/service", "events", "--json", "--since", "1h", "web"), []string{"order web restart", "service web running"})
	s.Signal(unix.SIGUSR2)
	s.Wait()
}

// checkEvents compares the kinds, names and states of some events, in their order. Numbers of
// events of all services increase by one.
func checkEvents(t *testing.T, text string, wanted []string) {
	t.Helper()
	last, filtered := uint64(0), !strings.HasPrefix(wanted[0], "stage")
	for line := range strings.Lines(text) {
		var e struct{ ID, Kind, Name, To string }
		must(t, json.Unmarshal([]byte(line), &e))
		_, number, _ := strings.Cut(e.ID, ".")
		now, err := strconv.ParseUint(number, 10, 64)
		must(t, err)
		if last != 0 && (now <= last || now != last+1 && !filtered) {
			t.Errorf("%d follows %d", now, last)
		}
		last = now
		if len(wanted) > 0 && e.Kind+" "+e.Name+" "+e.To == wanted[0] {
			wanted = wanted[1:]
		}
	}
	if len(wanted) > 0 {
		t.Errorf("no event %q in\n%s", wanted[0], text)
	}
}
