package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/runtime/procfs"
	"keelson/services/control"
	"keelson/testvm/nstest"
)

// divides makes cgroups as a container engine does, with a process in the lower one.
const divides = `trap 'exit 0' TERM
cd /sys/fs/cgroup
busybox mkdir -p box/deep
echo max >hugetlb.2MB.max
echo 4194304 >box/hugetlb.2MB.max
busybox sleep 1000 &
echo $! >box/deep/cgroup.procs
busybox grep 0:: /proc/self/cgroup
while :; do sleep 0.05; done`

// A service with keelson.delegate divides its cgroup, within the limit of its own. Stops, also
// by another supervisor, and crashes leave nothing, whether or not its processes end with the
// first one.
func TestDelegate(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		if err := os.Chmod(filepath.Join(s.dir, "../.."), 0o755); err != nil { // for the users of containers
			t.Fatal(err)
		}
		annotations := func(more ...string) map[string]string {
			all := map[string]string{"keelson.delegate": "true", "keelson.ready": "exec:/bin/busybox grep -q . /sys/fs/cgroup/box/deep/cgroup.procs"}
			for i := 0; i < len(more); i += 2 {
				all[more[i]] = more[i+1]
			}
			return all
		}
		s.add("box", divides, annotations())
		s.add("loose", divides, annotations())
		s.add("users", divides, annotations("keelson.userns", "auto"))
		s.add("plain", wellBehaved, nil)
		for _, name := range []string{"box", "loose", "users"} {
			s.edit(name, func(spec *specs.Spec) {
				spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro"}})
				spec.Linux.Resources = &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 8 << 20}}}
				if name == "loose" { // Its processes do not end with the first one.
					spec.Linux.Namespaces = slices.DeleteFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.PIDNamespace })
					spec.Mounts[0] = specs.Mount{Destination: "/proc", Type: "bind", Source: "/proc", Options: []string{"rbind"}}
				}
			})
		}
		s.begin()
		s.until("plain", "running", running)
		for _, name := range []string{"box", "loose", "users"} {
			s.divided(name)
			if r := s.ask(control.Restart, name); r.Code != 0 {
				t.Fatalf("restart: %+v", r)
			}
			v := s.divided(name)
			if err := syscall.Kill(v.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			s.until(name, "restarted", func(v control.Service) bool { return running(v) && v.Restarts == 1 })
			s.divided(name)
		}
		s.killSupervisor()
		for _, name := range []string{"box", "loose", "users"} {
			s.until(name, "taken over", running)
			s.divided(name)
			inner := procfs.CgroupPIDs(filepath.Join(s.cgroup(name), "keelson.own/box/deep"))
			if r := s.ask(control.Stop, name); r.Code != 0 {
				t.Fatalf("stop: %+v", r)
			}
			if _, err := os.Stat(s.cgroup(name)); err == nil {
				t.Errorf("cgroups of %s are left", name)
			}
			if len(inner) != 1 || !procfs.Ended("/proc", inner[0]) {
				t.Errorf("of the processes %v of %s some are left", inner, name)
			}
		}
	})
}

// cgroup returns the folder of the cgroup of a service.
func (s *system) cgroup(name string) string {
	s.t.Helper()
	b, err := bundle.Load(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return filepath.Join("/sys/fs/cgroup", b.Cgroup(name))
}

// divided checks the cgroups of a service that runs divides. It returns the service.
func (s *system) divided(name string) control.Service {
	s.t.Helper()
	v, dir := s.until(name, "running", running), s.cgroup(name)
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			s.t.Errorf("%s: %v", name, err)
		}
		return string(text)
	}
	if at := read(fmt.Sprintf("/proc/%d/cgroup", v.PID)); !strings.Contains(at, "/keelson.own/init\n") {
		s.t.Errorf("the first process of %s is in %q", name, at)
	}
	for file, want := range map[string]string{"hugetlb.2MB.max": "8388608\n", "keelson.own/hugetlb.2MB.max": "max\n", "keelson.own/box/hugetlb.2MB.max": "4194304\n"} {
		if got := read(filepath.Join(dir, file)); name != "users" && got != want || strings.Contains(file, "box") && got != want {
			s.t.Errorf("%s of %s is %q, want %q", file, name, got, want)
		}
	}
	if inside := read("/var/log/" + name + ".out.log"); !strings.HasSuffix(inside, "0::/init\n") {
		s.t.Errorf("%s sees itself in %q", name, inside)
	}
	return v
}
