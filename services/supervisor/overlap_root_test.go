package supervisor

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/services/control"
	"keelson/services/versions"
	"keelson/testvm/nstest"
)

// beside waits until a version of web runs beside another one, and returns it.
func (s *system) beside() control.Service {
	s.t.Helper()
	var found control.Service
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, v := range s.ask(control.List).Services {
			if strings.HasPrefix(v.Name, "web.") && running(v) {
				return v
			}
		}
	}
	s.fail("no version runs beside web")
	return found
}

// With keelson.swap=overlap the old version runs until the new one has passed its probation.
// Both answer meanwhile, and no client is without an answer.
func TestOverlap(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newListening(t, keptTCP+" "+keptUnix, "keelson.swap", "overlap", "keelson.swap.probation", "2s")
		before := s.until("web", "running", running)
		c := startClients()
		done := (&swapping{system: s}).request(control.Swap, "web", "web good-1")
		beside := s.beside()
		c.until(s, "good-1", 20)
		c.until(s, "image", 20)
		if now := s.until("web", "running", running); now.PID != before.PID || beside.PID == before.PID {
			s.fail("before %+v, now %+v beside %+v", before, now, beside)
		}
		if err := <-done; err != nil {
			s.fail("swap: %v", err)
		}
		c.until(s, "good-1", 100)
		c.check("swap", s, false)
		now := s.until("web", "running", running)
		if now.PID != beside.PID || now.Version == "" || len(s.ask(control.List).Services) != 1 {
			t.Errorf("after the swap %+v, want that of %+v", s.ask(control.List), beside)
		}
		s.untilLog("web.out.log", "serving 2 sockets: web:web\nserving 2 sockets: web:web\n")

		// The next supervisor finds the container, which still has the ID of the version.
		s.killSupervisor()
		if again := s.until("web", "taken over", running); again.PID != now.PID {
			t.Errorf("taken over %+v, was %+v", again, now)
		}
		c.until(s, "good-1", 100)
		// After a restart it has that of the service.
		if r := s.ask(control.Restart, "web"); r.Code != 0 {
			s.fail("restart: %+v", r)
		}
		c.until(s, "good-1", 100)
		if found := processes(t, "\x00-id\x00web\x00"); len(found) != 1 {
			t.Errorf("shims of web: %v", found)
		}
		if err := <-(&swapping{system: s}).request(control.Rollback, "web", ""); err != nil {
			s.fail("rollback: %v", err)
		}
		c.until(s, "image", 100)
		close(c.stop)
		c.done.Wait()
		c.check("rollback", s, false)
		s.end()
		t.Logf("answers: %v", c.answers)
	})
}

// Whatever happens to the new version before the probation is over, the old one is not
// touched.
func TestOverlapFails(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newListening(t, keptTCP, "keelson.swap", "overlap", "keelson.ready.timeout", "5m", "keelson.swap.probation", "1m")
		before := s.until("web", "running", running)
		for _, tt := range []struct {
			version, why string
			do           func()
		}{
			{"exits-1", "exited 3", func() {}},
			{"bad-2", "killed by SIGKILL", func() { kill(t, s.beside().PID) }},
			{"bad-3", "the service was ordered to stop", func() { s.ask(control.Stop, s.beside().Name) }},
		} {
			done := (&swapping{system: s}).request(control.Swap, "web", "web "+tt.version)
			tt.do()
			err := <-done
			if err == nil || !strings.Contains(err.Error(), tt.why) || !strings.Contains(err.Error(), "image is restored and running") {
				s.fail("%s: %v, want %s", tt.version, err, tt.why)
			}
			if now := s.until("web", "running", running); now.PID != before.PID {
				t.Errorf("%s: before %+v, now %+v", tt.version, before, now)
			}
			s.alone(tt.version)
		}
		// An order to stop the service stops both.
		done := (&swapping{system: s}).request(control.Swap, "web", "web bad-4")
		s.beside()
		if r := s.ask(control.Stop, "web"); r.Code != 0 {
			s.fail("stop: %+v", r)
		}
		if err := <-done; err == nil || !strings.Contains(err.Error(), "image is restored and stopped") {
			s.fail("a swap of a service that was stopped: %v", err)
		}
		s.until("web", "stopped", func(v control.Service) bool { return v.State == "stopped" })
		if found := processes(t, "testapp\x00listen"); len(found) > 0 {
			t.Errorf("processes %v are left", found)
		}
		// A service that does not run is replaced as without the annotation.
		if err := s.swapTo("web", "exits-5"); err == nil {
			s.fail("a version that exits was swapped in")
		}
		s.end()
	})
}

// alone checks that nothing is left of a version that failed.
func (s *system) alone(step string) {
	s.t.Helper()
	if list := s.ask(control.List).Services; len(list) != 1 {
		s.t.Errorf("%s: services %+v", step, list)
	}
	if found := processes(s.t, "testapp\x00listen"); len(found) != 1 {
		s.t.Errorf("%s: processes %v", step, found)
	}
	if found := processes(s.t, "\x00-id\x00web"); len(found) != 1 {
		s.t.Errorf("%s: shims %v", step, found)
	}
	files, err := os.ReadDir("/run/keelson/state")
	if err != nil {
		s.t.Fatal(err)
	}
	if slices.ContainsFunc(files, func(f os.DirEntry) bool { return strings.HasPrefix(f.Name(), "web.") && f.Name() != "web.json" }) {
		s.t.Errorf("%s: states %v", step, files)
	}
	mounted, _ := os.ReadFile("/proc/self/mounts")
	if strings.Contains(string(mounted), versions.Dir) {
		s.t.Errorf("%s: mounts\n%s", step, mounted)
	}
}
