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
	"keelson/runtime/procfs"
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
	own, ownErr := procfs.ReadCgroup("/proc", os.Getpid())
	cgroups, err := procfs.ReadCgroup("/proc", pid)
	if ownErr != nil || err != nil {
		return cgroup{}
	}
	return findCgroup(cgroups, own)
}

// findCgroup finds the cgroup of a container's processes, in the hierarchy of version 2
// or in that of the controller pids. It is empty when own, the cgroups of the
// supervisor, are in it too.
func findCgroup(cgroups, own []procfs.Cgroup) cgroup {
	for _, c := range cgroups {
		path, inOwn := strings.CutSuffix(filepath.Join("/", c.Path), "/"+bundle.OwnCgroup)
		if path == "/" || path == "" || holds(own, c, path) {
			continue
		}
		switch {
		case c.V2():
			return cgroup{"/sys/fs/cgroup", path, inOwn}
		case c.Has("pids"):
			return cgroup{"/sys/fs/cgroup/pids", path, inOwn}
		}
	}
	return cgroup{}
}

// holds reports whether one of cgroups, in the hierarchy of c, is path or lies below.
func holds(cgroups []procfs.Cgroup, c procfs.Cgroup, path string) bool {
	return slices.ContainsFunc(cgroups, func(other procfs.Cgroup) bool {
		return other.Hierarchy == c.Hierarchy && other.Controllers == c.Controllers && strings.HasPrefix(other.Path+"/", path+"/")
	})
}
