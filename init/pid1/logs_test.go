package pid1

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// `service logs` prints the logs of the whole system in the order of time.
func TestLogsByTime(t *testing.T) {
	tier.Root(t)
	dir := system(t, nil)
	container(t, dir, "/containers/onboot/000-one", "echo said onboot; echo complained >&2")
	container(t, dir, "/containers/services/web", "echo first; sleep 0.1; echo second >&2; sleep 0.1; echo third; exec sleep 1000")
	begun := time.Now().Add(-time.Second)
	s := nstest.Boot(t, dir, nstest.Options{})
	s.Line("ready: 1 service")
	for deadline := time.Now().Add(time.Minute); !strings.Contains(s.Output("/usr/bin/service", "logs", "web"), "third"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the service prints nothing")
		}
	}
	if got := s.Output("/usr/bin/service", "logs", "web"); got != "second\nfirst\nthird\n" {
		t.Errorf("the output of one service, as it is: %q", got)
	}
	if got := s.Output("/usr/bin/service", "logs", "-o", "cat", "web"); got != "first\nsecond\nthird\n" {
		t.Errorf("the output of one service by time: %q", got)
	}
	var names []string
	last := begun
	for line := range strings.Lines(s.Output("/usr/bin/service", "logs", "-o", "json")) {
		var e struct {
			Time, Before time.Time
			Name         string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		names = append(names, e.Name)
		if e.Name == "containerd" && e.Time.IsZero() {
			continue
		}
		if e.Time.Before(begun) || e.Time.After(time.Now()) {
			t.Errorf("it was not written then: %s", line)
		}
		// Several processes or threads write the logs of keelson and containerd.
		if e.Name == "keelson" || e.Name == "containerd" {
			continue
		}
		if e.Time.Before(last) {
			t.Errorf("after %v: %s", last, line)
		}
		last = e.Time
	}
	slices.Sort(names)
	if names = slices.Compact(names); !slices.Equal(names, []string{"containerd", "keelson", "onboot.000-one", "web"}) {
		t.Errorf("logs of %q", names)
	}
	if got := s.Output("/usr/bin/service", "logs", "--since", "@0", "--grep", "^(said|second)", "-o", "cat", "onboot.*", "web"); got != "said onboot\nsecond\n" {
		t.Errorf("matching lines: %q", got)
	}
	if got := s.Output("/usr/bin/service", "logs", "-n", "1", "--grep", " ready: ", "keelson"); strings.Count(got, "\n") != 1 {
		t.Errorf("the ready message: %q", got)
	}
}
