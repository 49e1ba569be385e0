package bundle

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// ErrSharedCgroup is returned for a service whose cgroup another has.
type ErrSharedCgroup struct {
	Name, Other string
	Path        string // of the cgroup
}

func (e ErrSharedCgroup) Error() string {
	return fmt.Sprintf("services %s and %s share the cgroup %s: set another cgroupsPath for one of them", e.Other, e.Name, e.Path)
}

// AddCgroup takes the path of a service's cgroup, in place of the one that the
// service had before. One in another's is fine, the same is an ErrSharedCgroup:
// the runtime would not start a container in it.
func (n *Names) AddCgroup(name, cgroup string) error {
	maps.DeleteFunc(n.cgroups, func(_, owner string) bool { return owner == name })
	if other, taken := n.cgroups[cgroup]; taken {
		return ErrSharedCgroup{Name: name, Other: other, Path: cgroup}
	}
	if slices.Contains(strings.Split(cgroup, "/"), OwnCgroup) {
		return fmt.Errorf("service %s has the cgroup %s, but the name %s is reserved: set another cgroupsPath for it", name, cgroup, OwnCgroup)
	}
	for path, other := range n.late {
		if err := apart(other, path, name, cgroup); err != nil {
			return err
		}
	}
	n.cgroups[cgroup] = name
	return nil
}

// AddLateCgroup takes the path of the cgroup of an onshutdown container. It runs
// while services do, so that neither may be in the other's: the runtime would not
// start it. Onboot containers have ended before services start.
func (n *Names) AddLateCgroup(name, cgroup string) error {
	for path, service := range n.cgroups {
		if err := apart(name, cgroup, service, path); err != nil {
			return err
		}
	}
	n.late[cgroup] = name
	return nil
}

func apart(late, path, service, cgroup string) error {
	if path != cgroup && len(Nested(path, []string{cgroup})) == 0 && len(Nested(cgroup, []string{path})) == 0 {
		return nil
	}
	return fmt.Errorf("onshutdown %s has the cgroup %s, service %s has %s, and they run at the same time: set another cgroupsPath for one of them",
		late, path, service, cgroup)
}

// OwnCgroup is the name of a cgroup in that of a service with others nested in it:
// the service's processes are there, since a cgroup of version 2 that distributes
// resources to those below has no processes itself (cgroup-v2.rst, "No Internal
// Process Constraint").
const OwnCgroup = "keelson.own"

// Nested returns those of the paths of cgroups that lie below outer.
func Nested(outer string, paths []string) (nested []string) {
	for _, p := range paths {
		if strings.HasPrefix(p, outer+"/") {
			nested = append(nested, p)
		}
	}
	return nested
}

// CgroupPath is where the runtime makes the cgroup of a container whose
// cgroupsPath is configured (config-linux.md, "Cgroups Path").
func CgroupPath(configured, name string) string {
	if configured == "" {
		configured = name
	}
	return path.Join("/", configured)
}

// Cgroup is the path of the cgroup of the container called name.
func (b *Bundle) Cgroup(name string) string {
	if b.Spec.Linux == nil {
		return CgroupPath("", name)
	}
	return CgroupPath(b.Spec.Linux.CgroupsPath, name)
}
