package task

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

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

// made returns the path of the cgroup in which the runtime makes the container.
func (p Placement) made() string {
	if p.Outer {
		return filepath.Join(p.Path, bundle.OwnCgroup)
	}
	return p.Path
}

// copyLimits makes the limits of a service hold for those nested in it too.
func (p Placement) copyLimits() error {
	if !p.Outer {
		return nil
	}
	return prepare.CopyLimits(p.made(), p.Path)
}

// delegate gives a service with keelson.delegate the cgroups below the one in which it was
// made.
func (t *Task) delegate() error {
	if !t.spec.Bundle.Settings.Delegate {
		return nil
	}
	return prepare.Delegate(t.spec.Placement.made(), t.pid, t.spec.Bundle.RootID())
}

// removeCgroups removes what a service with cgroups below its own has left, and its own unless
// other services are nested in it: the runtime knows only bundle.OwnCgroup.
func (t *Task) removeCgroups() {
	if err := prepare.RemoveCgroups(t.spec.Placement.Path, t.others()); err != nil {
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

// cgroupAt returns the cgroup of a container that was made at p, in the hierarchy of
// version 2 or else in the one of the controller pids. It is empty when there is no such
// cgroup, or when the supervisor is in it too. It does not depend on where the processes
// of the container are now: they may have moved themselves to cgroups below.
func cgroupAt(p Placement) cgroup {
	own, err := procfs.ReadCgroup("/proc", os.Getpid())
	if err != nil {
		return cgroup{}
	}
	c := cgroup{root: hierarchy(), path: filepath.Join("/", p.Path), own: p.Outer}
	if _, err := os.Stat(c.dir()); err != nil || c.path == "/" || slices.ContainsFunc(own, c.holds) {
		return cgroup{}
	}
	return c
}

const cgroupRoot = "/sys/fs/cgroup"

// hierarchy returns where the hierarchy is mounted by which containers are killed.
func hierarchy() string {
	var s unix.Statfs_t
	if unix.Statfs(cgroupRoot, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC {
		return cgroupRoot
	}
	return filepath.Join(cgroupRoot, "pids")
}

// holds reports whether other is c or lies below, in the same hierarchy.
func (c cgroup) holds(other procfs.Cgroup) bool {
	same := other.Has("pids")
	if c.root == cgroupRoot {
		same = other.V2()
	}
	return same && within(other.Path, c.path)
}

// within reports whether path is outer or lies below.
func within(path, outer string) bool { return strings.HasPrefix(path+"/", outer+"/") }

// adopted returns the placement of a container that runs: the bundle, from which p comes,
// may have been changed since. Without a record it is derived from the cgroup in which the
// first process is now.
func (p Placement) adopted(pid int, record *Record) Placement {
	path := ""
	if record != nil {
		path = record.Cgroup
	}
	if path == "" {
		cgroups, err := procfs.ReadCgroup("/proc", pid)
		if err != nil {
			return p // It has ended.
		}
		path = madeIn(cgroups, p.Path)
	}
	if path != "" {
		p.Path, p.Outer = strings.CutSuffix(path, "/"+bundle.OwnCgroup)
	}
	return p
}

// madeIn returns the path of the cgroup in which a container was made whose first process
// is in cgroups now. The container was made at expected if that is an ancestor.
func madeIn(cgroups []procfs.Cgroup, expected string) string {
	for _, c := range cgroups {
		path := filepath.Join("/", c.Path)
		if path == "/" || !c.V2() && !c.Has("pids") {
			continue
		}
		outer, _, own := strings.Cut(path+"/", "/"+bundle.OwnCgroup+"/")
		switch {
		case own:
			return filepath.Join(outer, bundle.OwnCgroup)
		case within(path, expected):
			return expected
		}
		return path
	}
	return ""
}
