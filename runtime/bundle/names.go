package bundle

import (
	"fmt"
	"path"
	"regexp"
	"sync"

	"keelson/runtime/paths"
)

// ErrBadName is returned for a container that cannot be run under its name.
type ErrBadName struct{ Section, Name, Why string }

func (e ErrBadName) Error() string {
	return fmt.Sprintf("%s %q: not a name for a container: %s", e.Section, e.Name, e.Why)
}

// ErrClash is returned for a container that shares a file with another because of
// its name.
type ErrClash struct {
	Section string // of both: services, onboot or onshutdown
	Name    string
	Other   string // the one that has the file
	File    string
}

func (e ErrClash) Error() string {
	return fmt.Sprintf("%s %s and %s share the file %s: rename one of them", e.Section, e.Other, e.Name, e.File)
}

// Names checks that the containers of a section do not share log files and cgroups.
type Names struct {
	section string
	owner   map[string]string // by file
	cgroups map[string]string // of services, their owners by path
	late    map[string]string // cgroups of onshutdown containers, their owners by path
}

// NewNames returns the Names of a section: services, onboot or onshutdown.
func NewNames(section string) *Names {
	n := &Names{section: section, owner: map[string]string{}, cgroups: map[string]string{}, late: map[string]string{}}
	if section == "services" {
		for _, file := range logFiles(section, "containerd")[:2] { // Only its first log and that log's .1.
			n.owner[file] = "containerd itself"
		}
	}
	return n
}

// Add takes a name. A name that no container can have is an ErrBadName, and one that
// shares a file with another an ErrClash; then no file is taken.
func (n *Names) Add(name string) error {
	if err := CheckName(n.section, name); err != nil {
		return err
	}
	files := logFiles(n.section, name)
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

// runcID is what runc accepts as the id of a container (validateID of libcontainer).
var runcID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_+.-]+$`) })

// CheckName returns an ErrBadName for a name that no container of a section can have.
func CheckName(section, name string) error {
	why := ""
	switch {
	case section == "services" && !isIdentifier(name):
		why = wantIdentifier
	case !runcID().MatchString(name):
		why = "runc needs letters, digits and _ + . -"
	}
	for _, file := range logFiles(section, name) {
		if base := path.Base(file); len(base) > longestName {
			why = fmt.Sprintf("the name of its log, %s, has more than %d bytes", base, longestName)
		}
	}
	if why == "" {
		return nil
	}
	return ErrBadName{Section: section, Name: name, Why: why}
}

// logFiles returns the logs of a container and what they are rotated to. Files below
// /run, FIFOs and states, clash only if these do: they have the container's name with
// at most one suffix.
func logFiles(section, name string) []string {
	base := paths.Logs + "/" + name
	switch section {
	case "onboot":
		base = paths.Logs + "/onboot/onboot." + name
	case "onshutdown":
		base = paths.Logs + "/onshutdown/shutdown." + name
	}
	files := []string{base + ".log", base + ".log.1", base + ".out.log", base + ".out.log.1"}
	if section != "services" {
		files = append(files, base+".runtime.log") // when it runs on a terminal
	}
	return files
}
