package probe

import (
	"cmp"
	"fmt"
	"strings"

	"keelson/runtime/bundle"
	"keelson/runtime/procfs"
)

// cgroup is the cgroup of a process in each hierarchy: its path, by the number and
// controllers of the hierarchy.
type cgroup map[string]string

func readCgroup(pid int) (cgroup, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("cannot find cgroup of process %d", pid)
	}
	all, err := procfs.ReadCgroup("/proc", pid)
	if err != nil {
		return nil, fmt.Errorf("cannot find cgroup of process %d: %w", pid, err)
	}
	return newCgroup(all), nil
}

func newCgroup(all []procfs.Cgroup) cgroup {
	c := cgroup{}
	for _, one := range all {
		c[one.Hierarchy+":"+one.Controllers] = one.Path
	}
	return c
}

// ofService returns the cgroup of the service whose first process is in c. That process may
// have moved itself to a cgroup below place, the path at which the service was made.
func (c cgroup) ofService(place string) cgroup {
	of := cgroup{}
	for hierarchy, path := range c {
		of[hierarchy] = cmp.Or(strings.TrimSuffix(path, "/"+bundle.OwnCgroup), "/")
		if place != "" && strings.HasPrefix(path+"/", place+"/") {
			of[hierarchy] = place
		}
	}
	return of
}

// contains reports whether sender is in c or below it in every hierarchy, and in none of
// the cgroups at the paths in others that are below c. The root of a hierarchy contains
// only itself, since all others are below it.
func (c cgroup) contains(sender cgroup, others []string) bool {
	for hierarchy, path := range c {
		at, known := sender[hierarchy]
		if !known || at != path && (path == "/" || !strings.HasPrefix(at, path+"/")) {
			return false
		}
		for _, other := range bundle.Nested(path, others) {
			if strings.HasPrefix(at+"/", other+"/") {
				return false
			}
		}
	}
	return len(c) > 0
}
