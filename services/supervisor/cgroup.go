package supervisor

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// cgroup is a container's place in the hierarchy by which it is killed.
type cgroup struct {
	root string // where the hierarchy is mounted
	path string // from there; empty: the container has no cgroup of its own
}

func (c cgroup) dir() string { return filepath.Join(c.root, c.path) }

// nested are the folders of those of paths that lie below c.
func (c cgroup) nested(paths []string) (dirs []string) {
	for _, path := range paths {
		if below(path, c.path) {
			dirs = append(dirs, filepath.Join(c.root, path))
		}
	}
	return dirs
}

// below reports whether the cgroup at path lies in outer, and is another.
func below(path, outer string) bool { return strings.HasPrefix(path, outer+"/") }

// cgroupsOfOthers are the paths of the cgroups of all services but svc, whether
// they run or not: one may be about to start.
func (s *Supervisor) cgroupsOfOthers(svc *service) (paths []string) {
	for _, name := range s.names() {
		if other := s.services[name]; other != svc && other.bundle != nil {
			paths = append(paths, other.bundle.Cgroup(name))
		}
	}
	return paths
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
		path := filepath.Join("/", f[2])
		if path == "/" || holds(own, f[0]+":"+f[1]+":", path) {
			continue
		}
		switch {
		case f[0] == "0" && f[1] == "":
			return cgroup{"/sys/fs/cgroup", path}
		case slices.Contains(strings.Split(f[1], ","), "pids"):
			return cgroup{"/sys/fs/cgroup/pids", path}
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
