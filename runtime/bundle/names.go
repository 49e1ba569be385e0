package bundle

import "fmt"

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
	cgroups map[string]string // of services, their owners by path
	late    map[string]string // of onshutdown containers
}

// NewNames begins with the files that are taken already.
func NewNames(section string) *Names {
	n := &Names{section: section, owner: map[string]string{}, cgroups: map[string]string{}, late: map[string]string{}}
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
