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

// Services whose user has no kernel key left run without a session keyring, also after a
// restart, and so do the commands of their probes. That is logged once.
func TestNoKeys(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		const user = 720000 // that no other test uses
		nstest.TakeKeys(t, user)
		s := prepareSystem(t)
		if err := os.Chmod(filepath.Join(s.dir, "../.."), 0o755); err != nil { // for the users of containers
			t.Fatal(err)
		}
		for _, name := range []string{"web", "db"} {
			s.add(name, wellBehaved, map[string]string{"keelson.ready": "exec:/bin/sh -c :"})
			s.edit(name, func(spec *specs.Spec) {
				ownUsers(spec)
				spec.Linux.UIDMappings[0].HostID, spec.Linux.GIDMappings[0].HostID = user, user
			})
		}
		s.begin()
		s.until("web", "running", running)
		before := s.until("db", "running", running)
		if r := s.ask(control.Restart, "db"); r.Code != 0 {
			t.Errorf("restart: %+v", r)
		}
		s.until("db", "restarted", func(v control.Service) bool { return running(v) && v.PID != before.PID })
		s.end()
		if text := logOf(t, "supervisor.log"); strings.Count(text, "root_maxkeys") != 1 {
			t.Errorf("the lack of keys is not logged once:\n%s", text)
		}
	})
}
