package bundle

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// ErrSharedCgroup is returned for a service that has the same cgroup as another.
type ErrSharedCgroup struct {
	Name, Other string
	Path        string // of the cgroup
}

func (e ErrSharedCgroup) Error() string {
	return fmt.Sprintf("services %s and %s share the cgroup %s: set another cgroupsPath for one of them", e.Other, e.Name, e.Path)
}

// AddCgroup takes the path of a service's cgroup, and gives up the one that the service
// had before. It may be below the cgroup of another service. The same is an
// ErrSharedCgroup: the runtime does not start a container in a cgroup with processes.
func (n *Names) AddCgroup(name, cgroup string) error {
	maps.DeleteFunc(n.cgroups, func(_, owner string) bool { return owner == name })
	if why := refuseCgroup(cgroup); why != "" {
		return fmt.Errorf("service %s has the cgroup %q: %s: set another cgroupsPath for it", name, cgroup, why)
	}
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

// AddShutdownCgroup takes the path of the cgroup of an onshutdown container. The container
// runs while services do, so neither cgroup may be below the other: the runtime would
// not start the container. Onboot containers have ended before services start.
func (n *Names) AddShutdownCgroup(name, cgroup string) error {
	if why := refuseCgroup(cgroup); why != "" {
		return fmt.Errorf("onshutdown %s has the cgroup %q: %s: set another cgroupsPath for it", name, cgroup, why)
	}
	for path, service := range n.cgroups {
		if err := apart(name, cgroup, service, path); err != nil {
			return err
		}
	}
	n.late[cgroup] = name
	return nil
}

// apart returns an error when one of the cgroups of an onshutdown container and a
// service is the other or below it.
func apart(late, path, service, cgroup string) error {
	if path != cgroup && len(Nested(path, []string{cgroup})) == 0 && len(Nested(cgroup, []string{path})) == 0 {
		return nil
	}
	return fmt.Errorf("onshutdown %s has the cgroup %s, service %s has %s, and they run at the same time: set another cgroupsPath for one of them",
		late, path, service, cgroup)
}

// OwnCgroup is the name of a cgroup below the cgroup of a service in which cgroups of
// other services are nested. The service's processes are in it, since a cgroup of
// version 2 that distributes resources to its children cannot have processes itself
// (cgroup-v2.rst, "No Internal Process Constraint").
const OwnCgroup = "keelson.own"

// Nested returns the paths of cgroups that are below outer.
func Nested(outer string, paths []string) (nested []string) {
	for _, p := range paths {
		if strings.HasPrefix(p, outer+"/") {
			nested = append(nested, p)
		}
	}
	return nested
}

// CgroupPath returns the path at which the runtime makes the cgroup of a container with
// a configured cgroupsPath (config-linux.md, "Cgroups Path").
func CgroupPath(configured, name string) string {
	if configured == "" {
		configured = name
	}
	return path.Join("/", configured)
}

// Cgroup returns the path of the container's cgroup when its id is name.
func (b *Bundle) Cgroup(name string) string {
	if b.Spec.Linux == nil {
		return CgroupPath("", name)
	}
	return CgroupPath(b.Spec.Linux.CgroupsPath, name)
}
