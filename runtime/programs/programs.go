package programs

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Dir is the folder of the store on a machine.
const Dir = "/var/lib/keelson/programs"

// Names of files of a version.
const (
	ManifestFile = "manifest.json"
	ListFile     = "programs.json"
	RootDir      = "rootfs"
)

// Paths of programs, below the root.
const (
	Service    = "usr/bin/service"
	Containerd = "usr/bin/containerd"
	Ctr        = "usr/bin/ctr"
	Runc       = "usr/bin/runc"
	ShimStart  = "usr/bin/containerd-shim-runc-v2"
	Shim       = "usr/libexec/containerd-shim-runc-v2"
)

// paths are all files that a version may have.
var paths = []string{Service, Containerd, Ctr, Runc, ShimStart, Shim}

// Paths returns the files that a version may have, relative to the root.
func Paths() []string { return slices.Clone(paths) }

// Folders returns the folders of these files.
func Folders() []string { return []string{"usr/bin", "usr/libexec"} }

// LinkTarget is what Containerd and Ctr may be a symbolic link to: Service.
const LinkTarget = "service"

// link is the value of a List for a symbolic link to LinkTarget.
const link = "link:" + LinkTarget

// List maps the files of a version to their digest, sha256:HEX, or to "link:service". It is
// the configuration of an artifact.
type List map[string]string

var digestForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^sha256:[0-9a-f]{64}$`) })

// IsLink reports whether a file is a symbolic link to LinkTarget.
func (l List) IsLink(name string) bool { return l[name] == link }

// Names returns the files, sorted.
func (l List) Names() []string { return slices.Sorted(maps.Keys(l)) }

// NewList returns a list of files and links.
func NewList(digests map[string]string, links []string) (List, error) {
	l := maps.Clone(List(digests))
	for _, name := range links {
		l[name] = link
	}
	return l, l.check()
}

// ParseList reads a List.
func ParseList(text []byte) (List, error) {
	var l List
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("cannot read the list of programs: %w", err)
	}
	return l, l.check()
}

func (l List) check() error {
	if len(l) == 0 {
		return errors.New("the list of programs is empty")
	}
	for _, name := range l.Names() {
		if err := CheckName(name); err != nil {
			return err
		}
		value := l[name]
		switch {
		case digestForm().MatchString(value):
		case value == link && MayLink(name):
		default:
			return fmt.Errorf("the list of programs has %q for %s, want sha256: and 64 hexadecimal digits", value, name)
		}
	}
	return nil
}

// MayLink reports whether a file may be a symbolic link to LinkTarget.
func MayLink(name string) bool { return name == Containerd || name == Ctr }

// CheckName returns an error for a file that a version may not have.
func CheckName(name string) error {
	if slices.Contains(paths, name) {
		return nil
	}
	return fmt.Errorf("%s is none of the programs that can be replaced: %s", name, strings.Join(paths, ", "))
}

// IsFolder reports whether name leads to files that a version may have.
func IsFolder(name string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return strings.HasPrefix(p, path.Clean(name)+"/") })
}

var targetForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^sha256-[0-9a-f]{64}$`) })

// Image is the target of links that stands for the programs of the image.
const Image = "image"

// CheckTarget returns an error unless target is the name of a version in the store, or
// Image.
func CheckTarget(target string) error {
	if target == Image || targetForm().MatchString(target) {
		return nil
	}
	return fmt.Errorf("%q is no version of the programs", target)
}
