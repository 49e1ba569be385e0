package supervisor

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
)

// cgroup is a container's place in the hierarchy by which it is killed.
type cgroup struct {
	root string // where the hierarchy is mounted
	path string // from there; empty: the container has no cgroup of its own
	own  bool   // its processes are in bundle.OwnCgroup below it
}

func (c cgroup) dir() string { return filepath.Join(c.root, c.path) }

// processes is the folder of the cgroup that they are in.
func (c cgroup) processes() string {
	if c.own {
		return filepath.Join(c.dir(), bundle.OwnCgroup)
	}
	return c.dir()
}

// nested are the folders of those of paths that lie below c.
func (c cgroup) nested(paths []string) (dirs []string) {
	for _, path := range bundle.Nested(c.path, paths) {
		dirs = append(dirs, filepath.Join(c.root, path))
	}
	return dirs
}

// cgroupsOfOthers are the paths of the cgroups of all services but svc, whether
// they run or not: one may be about to start.
func (s *Supervisor) cgroupsOfOthers(svc *service) (paths []string) {
	for _, name := range s.names() {
		if other := s.services[name]; other != svc && other.bundle != nil {
			paths = append(paths, other.bundle.Cgroup(name))
			if other.run != nil && other.run.at != "" {
				paths = append(paths, other.run.at)
			}
		}
	}
	return paths
}

// claim takes what is derived from a service's name and bundle, or says in clash
// which other service has it.
func (s *Supervisor) claim(svc *service) {
	svc.clash = s.taken.Add(svc.name)
	if svc.clash == nil && svc.bundle != nil {
		svc.clash = s.taken.AddCgroup(svc.name, svc.bundle.Cgroup(svc.name))
	}
}

// place decides where the cgroup of a run is, among those of the other services. It
// fails when its cgroup cannot be made.
func (s *Supervisor) place(r *run) error {
	r.others = s.cgroupsOfOthers(r.service)
	path := r.bundle.Cgroup(r.name)
	r.nests = len(bundle.Nested(path, r.others)) > 0
	for _, name := range s.names() {
		other := s.services[name].run
		if other == nil || other == r || other.nests {
			continue
		}
		if len(bundle.Nested(cmp.Or(other.at, other.bundle.Cgroup(name)), []string{path})) > 0 {
			return fmt.Errorf("its cgroup %s lies in that of service %s, which was started without one in it: restart %s, then start %s",
				path, name, name, r.name)
		}
	}
	return nil
}

// unsupported are limits that the kernel does not have controllers for, which is
// reported once: the service runs without.
func (r *run) unsupported() []bundle.ResourceLimit {
	limits, s := prepare.Unsupported(r.bundle), r.supervisor
	for _, sentence := range bundle.WithoutController(limits) {
		s.send(func() {
			if about := r.name + ": " + sentence; !s.told[about] {
				s.told[about] = true
				s.options.Logger.Warn(sentence, "service", r.name)
			}
		})
	}
	return limits
}

// copyLimits has the limits of a service hold for those nested in it too.
func (r *run) copyLimits() error {
	if !r.nests {
		return nil
	}
	path := r.bundle.Cgroup(r.name)
	return prepare.CopyLimits(filepath.Join(path, bundle.OwnCgroup), path)
}

// empty ends what a service with others nested in it has left in cgroups that it
// made below its own: the runtime knows only bundle.OwnCgroup.
func (r *run) empty() {
	if r.process != nil {
		_ = r.process.KillAll(r.others) // The first process has ended.
	}
	path := r.bundle.Cgroup(r.name)
	keep := append(slices.Clone(r.others), filepath.Join(path, bundle.OwnCgroup))
	if err := prepare.RemoveCgroups(path, keep); err != nil {
		r.supervisor.options.Logger.Warn("cgroups of a service are left", "service", r.name, "error", err)
	}
}

// processesIn lists the processes of a cgroup and those below, but not this
// one, and none in the folders to skip.
func processesIn(cgroup string, skip []string) []int {
	var pids []int
	_ = filepath.WalkDir(cgroup, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // It may be gone.
		case d.IsDir() && slices.Contains(skip, path):
			return filepath.SkipDir
		case d.IsDir() || d.Name() != "cgroup.procs":
			return nil
		}
		text, _ := os.ReadFile(path) // It may be gone.
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil && pid > 1 && pid != os.Getpid() {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

func cgroupOf(pid int) cgroup {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return cgroup{}
	}
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return cgroup{}
	}
	return parseCgroup(string(text), string(own))
}

// parseCgroup finds the cgroup of a container's processes in a /proc/PID/cgroup
// (cgroups(7)): lines "0::/path" for version 2, "4:pids,cpu:/path" for version
// 1. It is empty when own, the supervisor, is in it too.
func parseCgroup(cgroups, own string) cgroup {
	for line := range strings.Lines(cgroups) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		path, inOwn := strings.CutSuffix(filepath.Join("/", f[2]), "/"+bundle.OwnCgroup)
		if path == "/" || path == "" || holds(own, f[0]+":"+f[1]+":", path) {
			continue
		}
		switch {
		case f[0] == "0" && f[1] == "":
			return cgroup{"/sys/fs/cgroup", path, inOwn}
		case slices.Contains(strings.Split(f[1], ","), "pids"):
			return cgroup{"/sys/fs/cgroup/pids", path, inOwn}
		}
	}
	return cgroup{}
}

// holds tells whether one of cgroups, in the hierarchy that its line begins
// with, is path or lies below.
func holds(cgroups, hierarchy, path string) bool {
	for line := range strings.Lines(cgroups) {
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), hierarchy); ok && strings.HasPrefix(at+"/", path+"/") {
			return true
		}
	}
	return false
}
