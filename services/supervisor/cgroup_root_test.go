package supervisor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/services/control"
	"keelson/testvm/nstest"
)

// A service with the cgroup of another below its own is stopped, crashes and is started
// again, also by a supervisor that took it over, while the other keeps running.
func TestNestedCgroups(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		stubborn := map[string]string{"keelson.stop.timeout": "20ms"}
		s.add("outer", "trap '' TERM; while :; do sleep 0.05; done", stubborn)
		s.add("inner", "trap '' TERM; while :; do sleep 0.05; done", map[string]string{"keelson.after": "outer", "keelson.stop.timeout": "20ms"})
		path := s.nest("outer", "inner")
		s.edit("outer", func(spec *specs.Spec) {
			spec.Linux.Resources = &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}}
		})
		s.begin()
		outer := s.until("outer", "running", running)
		inner := s.until("inner", "running", running)
		for pid, want := range map[int]string{inner.PID: filepath.Join(path, "inner"), outer.PID: filepath.Join(path, bundle.OwnCgroup)} {
			text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
			if err != nil || !strings.Contains(string(text), "0::"+want+"\n") {
				t.Fatalf("process %d is in %q (%v), want %s", pid, text, err, want)
			}
		}
		limit, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", path, "hugetlb.2MB.max"))
		if string(limit) != "4194304\n" {
			t.Errorf("the limit for both is %q (%v)", limit, err)
		}
		untouched := func(after string) {
			t.Helper()
			if v := s.ask(control.List, "inner").Services[0]; v.PID != inner.PID || v.Restarts != 0 {
				t.Errorf("after %s inner is %+v and was %+v", after, v, inner)
			}
			if text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(inner.PID), "stat")); !strings.Contains(string(text), "(sh)") {
				t.Errorf("after %s the process of inner: %s, %v", after, text, err)
			}
		}
		made := filepath.Join("/sys/fs/cgroup", path, "made/deep") // as a container with the host's cgroups does
		if err := os.MkdirAll(made, 0o755); err != nil {
			t.Fatal(err)
		}
		if r := s.ask(control.Stop, "outer"); r.Code != 0 {
			t.Errorf("stop: %+v", r)
		}
		if v := s.ask(control.List, "outer").Services[0]; v.LastExit != "killed by SIGKILL" {
			t.Errorf("outer: %+v", v)
		}
		if _, err := os.Stat(filepath.Dir(made)); err == nil {
			t.Error("a cgroup of outer is left")
		}
		untouched("a stop")
		if r := s.ask(control.Start, "outer"); r.Code != 0 {
			t.Fatalf("start: %+v", r)
		}
		untouched("a start")
		outer = s.until("outer", "running", running)
		if err := syscall.Kill(outer.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s.until("outer", "restarted", func(v control.Service) bool { return running(v) && v.Restarts == 1 })
		untouched("a crash")
		s.killSupervisor()
		s.until("outer", "taken over", running)
		if r := s.ask(control.Restart, "outer"); r.Code != 0 {
			t.Fatalf("restart: %+v", r)
		}
		untouched("a restart by another supervisor")
		s.edit("inner", func(spec *specs.Spec) { spec.Linux.CgroupsPath = filepath.Join(filepath.Dir(path), "moved") })
		s.killSupervisor()
		s.until("outer", "taken over", running)
		if r := s.ask(control.Restart, "outer"); r.Code != 0 {
			t.Fatalf("restart: %+v", r)
		}
		untouched("a change of its bundle")
	})
}

// A limit for which the kernel has no controller is logged once, and the service runs.
func TestLimitWithoutController(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		controllers, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		if !strings.Contains(string(controllers), "memory") {
			want = 1
		}
		s := prepareSystem(t)
		s.add("web", counting, nil)
		s.change("web", `"linux":{`, `"linux":{"resources":{"memory":{"limit":67108864}},`)
		s.begin()
		s.until("web", "running", running)
		if r := s.ask(control.Restart, "web"); r.Code != 0 {
			t.Errorf("restart: %+v", r)
		}
		log, err := os.ReadFile("/var/log/supervisor.log")
		if got := strings.Count(string(log), "linux.resources.memory.limit ignored: "); got != want {
			t.Errorf("with the controllers %sit is reported %d times (%v):\n%s", controllers, got, err, log)
		}
	})
}

// nest puts the cgroup of inner below the cgroup of outer, and returns the path of the
// latter.
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
