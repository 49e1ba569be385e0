package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/services/control"
	"keelson/testvm/nstest"
)

// A configuration that the real runc refuses is named with its field, reported once,
// and runs as soon as it is corrected. A service with a bind whose source is missing runs
// when the source appears.
func TestRefusedByTheRuntime(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		late := filepath.Join(t.TempDir(), "late")
		for _, name := range []string{"refused", "late"} {
			s.add(name, wellBehaved, map[string]string{"keelson.restart.delay": "10ms", "keelson.restart.max-delay": "50ms"})
		}
		s.edit("refused", func(spec *specs.Spec) {
			spec.Linux.Sysctl = map[string]string{"kernel.shmmax": "1"}
		})
		s.edit("late", func(spec *specs.Spec) {
			spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/tmp", Type: "bind", Source: late, Options: []string{"bind"}})
		})
		s.begin()
		failed := func(v control.Service) bool { return v.State == "backoff" }
		v := s.until("refused", "refused", failed)
		for _, want := range []string{"config.json: linux.sysctl: kernel.shmmax: ", "hosts ipc namespace"} {
			if !strings.Contains(v.Error, want) {
				t.Errorf("status %q lacks %q", v.Error, want)
			}
		}
		if v := s.until("late", "failed", failed); !strings.Contains(v.Error, late) || strings.Contains(v.Error, "config.json") {
			t.Errorf("status %q", v.Error)
		}
		if err := os.Mkdir(late, 0o755); err != nil {
			t.Fatal(err)
		}
		s.until("late", "running", running)
		s.edit("refused", func(spec *specs.Spec) { spec.Linux.Sysctl = nil })
		s.until("refused", "running", running)
		for _, name := range []string{"refused", "late"} {
			if n := strings.Count(logOf(t, "supervisor.log"), "service "+name+": failed: "); n != 1 {
				t.Errorf("the failure of %s is reported %d times", name, n)
			}
		}
	})
}
