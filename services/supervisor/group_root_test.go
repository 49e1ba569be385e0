package supervisor

import (
	"maps"
	"slices"
	"syscall"
	"testing"

	"keelson/services/control"
	"keelson/testvm/nstest"
)

// Services of a group share a shim: they start and stop separately, and end together with
// the shim.
func TestGroupedShims(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		group := map[string]string{"io.containerd.runc.v2.group": "pair"}
		s.add("web", counting, group)
		s.add("other", counting, group)
		s.add("apart", counting, nil)
		s.begin()
		before := map[string]control.Service{}
		for _, name := range []string{"web", "other", "apart"} {
			before[name] = s.until(name, "running", running)
		}
		shims := processes(t, "containerd-shim-runc-v2\x00-namespace\x00")
		apart := processes(t, "\x00-id\x00apart\x00")
		if len(shims) != 2 || len(apart) != 1 {
			s.fail("shims %v, of which %v apart", shims, apart)
		}
		for _, verb := range []string{control.Stop, control.Start, control.Restart} {
			if r := s.ask(verb, "web"); r.Code != 0 {
				s.fail("%s: %+v", verb, r)
			}
		}
		before["web"] = s.until("web", "running", running)
		for name, was := range maps.All(before) {
			if now := s.until(name, "running", running); now.PID != was.PID {
				t.Errorf("%s was %+v and is %+v", name, was, now)
			}
		}
		if now := processes(t, "containerd-shim-runc-v2\x00-namespace\x00"); !slices.Equal(now, shims) {
			t.Errorf("shims %v are now %v", shims, now)
		}
		// A shim stays that another service uses, also when that which has started it is stopped.
		for _, name := range []string{"web", "other"} {
			if len(processes(t, "\x00-id\x00"+name+"\x00")) == 1 {
				s.ask(control.Stop, name)
				_ = s.foreignTask("zzz", "zzz") // swept last
				s.killContainerd()
				s.untilSwept([]string{"zzz"})
				if r := s.ask(control.Start, name); r.Code != 0 {
					s.fail("start: %+v", r)
				}
				before[name] = s.until(name, "running", running)
			}
		}
		for name, was := range maps.All(before) {
			if now := s.until(name, "running", running); now.PID != was.PID {
				t.Errorf("%s was %+v and is %+v", name, was, now)
			}
		}
		for _, pid := range shims {
			if pid != apart[0] {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		for _, name := range []string{"web", "other"} {
			s.until(name, "restarted", func(v control.Service) bool { return running(v) && v.PID != before[name].PID })
		}
		if now := s.until("apart", "running", running); now.PID != before["apart"].PID {
			t.Errorf("apart was %+v and is %+v", before["apart"], now)
		}
		s.end()
		if left := processes(t, "containerd-shim-runc-v2\x00"); len(left) != 0 {
			t.Errorf("shims %v are left", left)
		}
	})
}
