package supervisor

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"keelson/services/control"
	"keelson/testvm/nstest"
)

// hookNames is the order in config.md of the OCI runtime specification, without poststart:
// for a container that is created first, runc runs these hooks before it starts it.
var hookNames = []string{"prestart", "createRuntime", "createContainer", "startContainer", "process", "poststop"}

// All six kinds of hooks of a service run once in each life.
func TestHooks(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		s.add("web", "echo process >>/run/order; exec sleep 1000", nil)
		var hooks []string
		for _, name := range append([]string{"poststart"}, hookNames...) {
			if name != "process" {
				hooks = append(hooks, fmt.Sprintf(`"%s":[{"path":"/bin/sh","args":["sh","-c","echo %s >>/run/order"]}]`, name, name))
			}
		}
		s.change("web", `{`, `{"hooks":{`+strings.Join(hooks, ",")+`},`)
		s.change("web", `{"destination":"/proc"`, `{"destination":"/run","type":"bind","source":"/run","options":["rbind"]},{"destination":"/proc"`)
		s.begin()
		s.until("web", "running", running)
		s.untilHooks("process")
		if r := s.ask(control.Stop, "web"); r.Code != 0 {
			t.Errorf("stop: %+v", r)
		}
		s.untilHooks("poststop")
		all := s.hooksRun()
		if n := slices.Index(all, "poststart"); n <= slices.Index(all, "createContainer") || n > slices.Index(all, "poststop") {
			t.Errorf("poststart is out of order: %v", all)
		}
		if got := slices.DeleteFunc(all, func(name string) bool { return name == "poststart" }); !slices.Equal(got, hookNames) {
			t.Errorf("hooks ran in the order %v, want %v", got, hookNames)
		}
	})
}

func (s *system) hooksRun() []string {
	text, _ := os.ReadFile("/run/order")
	return strings.Fields(string(text))
}

func (s *system) untilHooks(last string) {
	s.t.Helper()
	s.until("web", "at "+last, func(control.Service) bool { return slices.Contains(s.hooksRun(), last) })
}
