package task

import (
	"os"
	"path/filepath"
	"slices"
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

// processes is the folder of the cgroup that the processes are in.
func (c cgroup) processes() string {
	if c.own {
		return filepath.Join(c.dir(), bundle.OwnCgroup)
	}
	return c.dir()
}

// nested returns the folders of those of paths that lie below c.
func (c cgroup) nested(paths []string) (dirs []string) {
	for _, path := range bundle.Nested(c.path, paths) {
		dirs = append(dirs, filepath.Join(c.root, path))
	}
	return dirs
}

// copyLimits makes the limits of a service hold for those nested in it too.
func (p Placement) copyLimits() error {
	if !p.Outer {
		return nil
	}
	return prepare.CopyLimits(filepath.Join(p.Path, bundle.OwnCgroup), p.Path)
}

// emptyCgroup removes what a service with others nested in it has left in cgroups that
// it made below its own: the runtime knows only bundle.OwnCgroup.
func (t *Task) emptyCgroup() {
	t.Kill(t.others()) // The first process has ended.
	path := t.spec.Placement.Path
	keep := append(slices.Clone(t.others()), filepath.Join(path, bundle.OwnCgroup))
	if err := prepare.RemoveCgroups(path, keep); err != nil {
		t.runner.Logger.Warn("cannot remove cgroups of a service", "service", t.spec.Name, "error", err)
	}
}

// processesIn returns the processes of a cgroup and of those below it, without this
// process and without those in the folders to skip.
func processesIn(cgroup string, skip []string) []int {
	var pids []int
	_ = filepath.WalkDir(cgroup, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // It may be gone.
		case !d.IsDir():
			return nil
		case slices.Contains(skip, path):
			return filepath.SkipDir
		}
		pids = append(pids, procfs.CgroupPIDs(path)...)
		return nil
	})
	return pids
}

// cgroupOf finds the cgroup of a container by its first process. It is empty when that
// has ended.
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
