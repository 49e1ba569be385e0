package bundle

import (
	"fmt"
	"path"
)

// ErrClash is returned for a container whose name makes it share a file with
// another.
type ErrClash struct {
	Section string // of both: services, onboot or onshutdown
	Name    string
	Other   string // the one that has the file
	File    string
}

func (e ErrClash) Error() string {
	return fmt.Sprintf("%s %s and %s share the file %s: rename one of them", e.Section, e.Other, e.Name, e.File)
}

// Names are those of a section's containers, whose files must be their own.
type Names struct {
	section string
	owner   map[string]string // by file
	cgroups map[string]string // their owners by path
}

// ErrSharedCgroup is returned for a service whose cgroup another has.
type ErrSharedCgroup struct {
	Name, Other string
	Path        string // of the cgroup
}

func (e ErrSharedCgroup) Error() string {
	return fmt.Sprintf("services %s and %s share the cgroup %s: set another cgroupsPath for one of them", e.Other, e.Name, e.Path)
}

// NewNames begins with the files that are taken already.
func NewNames(section string) *Names {
	n := &Names{section: section, owner: map[string]string{}, cgroups: map[string]string{}}
	if section == "services" {
		for _, file := range n.files("containerd")[:2] { // It has one log.
			n.owner[file] = "containerd itself"
		}
	}
	return n
}

// Add takes a name. Where files of it are another's, it has none of them, and
// the error is an ErrClash.
func (n *Names) Add(name string) error {
	files := n.files(name)
	for _, file := range files {
		if other, taken := n.owner[file]; taken && other != name {
			return ErrClash{Section: n.section, Name: name, Other: other, File: file}
		}
	}
	for _, file := range files {
		n.owner[file] = name
	}
	return nil
}

// AddCgroup takes the path of a service's cgroup. One in another's is fine, the
// same is an ErrSharedCgroup: the runtime would not start a container in it.
func (n *Names) AddCgroup(name, cgroup string) error {
	if other, taken := n.cgroups[cgroup]; taken && other != name {
		return ErrSharedCgroup{Name: name, Other: other, Path: cgroup}
	}
	n.cgroups[cgroup] = name
	return nil
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

// files are the logs of a container, with what they are rotated to. Those below
// /run, FIFOs and states, have the same names or, with one suffix each, cannot
// clash unless these do.
func (n *Names) files(name string) []string {
	base := "/var/log/" + name
	switch n.section {
	case "onboot":
		base = "/var/log/onboot/onboot." + name
	case "onshutdown":
		base = "/var/log/onshutdown/shutdown." + name
	}
	files := []string{base + ".log", base + ".log.1", base + ".out.log", base + ".out.log.1"}
	if n.section != "services" {
		files = append(files, base+".runtime.log") // of a run on a terminal
	}
	return files
}
