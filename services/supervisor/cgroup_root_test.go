package supervisor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/nstest"
	"keelson/services/control"
)

// The end of a service that does not stop in time is that of its processes, in
// cgroups that it made too, and not of those of a service with a cgroup below.
func TestNestedCgroups(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		stubborn := map[string]string{"keelson.stop.timeout": "20ms"}
		s.add("outer", "trap '' TERM; while :; do sleep 0.05; done", stubborn)
		s.add("inner", "trap '' TERM; while :; do sleep 0.05; done", map[string]string{"keelson.after": "outer", "keelson.stop.timeout": "20ms"})
		path := s.nest("outer", "inner")
		s.begin()
		s.until("outer", "running", running)
		inner := s.until("inner", "running", running)
		if got := cgroupOf(inner.PID); got.path != filepath.Join(path, "inner") {
			t.Fatalf("inner is in %+v", got)
		}
		if r := s.ask(control.Stop, "outer"); r.Code != 0 {
			t.Errorf("stop: %+v", r)
		}
		if v := s.ask(control.List, "outer").Services[0]; v.LastExit != "killed by SIGKILL" {
			t.Errorf("outer: %+v", v)
		}
		if v := s.ask(control.List, "inner").Services[0]; v.PID != inner.PID || v.Restarts != 0 {
			t.Errorf("inner was %+v and is %+v", inner, v)
		}
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(inner.PID), "stat"))
		if err != nil || !strings.Contains(string(text), "(sh)") {
			t.Errorf("the process of inner: %s, %v", text, err)
		}
	})
}

// nest puts the cgroup of inner below that of outer, whose path it returns.
func (s *system) nest(outer, inner string) string {
	s.t.Helper()
	read := func(name string) (spec specs.Spec) {
		text, err := os.ReadFile(filepath.Join(s.dir, name, "config.json"))
		if err == nil {
			err = json.Unmarshal(text, &spec)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		return spec
	}
	path, spec := read(outer).Linux.CgroupsPath, read(inner)
	spec.Linux.CgroupsPath = filepath.Join(path, inner)
	text, err := json.Marshal(spec)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(filepath.Join(s.dir, inner, "config.json"), string(text))
	return path
}
