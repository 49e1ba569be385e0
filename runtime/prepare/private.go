package prepare

import (
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/mounts"
	"keelson/runtime/bundle"
)

// privateName is the name of a private folder in a tmpfs of its container.
const privateName = "keelson"

var canMountPrivate = sync.OnceValue(mounts.CanMountPrivate)

// PrivateDir is where a container can be given a folder that is in its own mount
// namespace only: in a tmpfs that its spec mounts, /dev by preference. It is
// empty where there is none: when /dev is the host's, as the root file system
// may be read-only; without a mount namespace; and before Linux 5.2.
func PrivateDir(s *specs.Spec) string {
	if !ownMountNS(s) || !canMountPrivate() {
		return ""
	}
	var own []string
	for _, m := range s.Mounts {
		target := filepath.Join("/", m.Destination)
		own = without(own, target)
		if fits(bundle.Mount{Type: m.Type, Source: m.Source, Destination: target, Options: m.Options}, s.Linux.RootfsPropagation) {
			own = append(own, target)
		}
	}
	for _, target := range own {
		if target == "/dev" {
			own[0] = target
		}
	}
	if len(own) == 0 {
		return ""
	}
	return filepath.Join(own[0], privateName)
}

func ownMountNS(s *specs.Spec) bool {
	if s.Linux == nil {
		return false
	}
	for _, ns := range s.Linux.Namespaces {
		if ns.Type == specs.MountNamespace {
			return ns.Path == ""
		}
	}
	return false
}

// fits reports whether a mount is a tmpfs of the container's own that can be
// written to and that every user of the container can enter. PrivateFolder makes
// it private, which a mount other than /dev may not be meant to be.
func fits(m bundle.Mount, propagation string) bool {
	if m.Type != "tmpfs" || isBind(m) || hasWord(m.Options, "ro", "shared", "rshared") {
		return false
	}
	if m.Destination == "/dev" {
		return true
	}
	for _, word := range words(m.Options) {
		if strings.HasPrefix(word, "mode=") {
			return false
		}
	}
	return !strings.Contains(propagation, "shared")
}

// without leaves out the targets that a mount on top covers.
func without(targets []string, top string) []string {
	var left []string
	for _, t := range targets {
		if !inside(top, t) {
			left = append(left, t)
		}
	}
	return left
}

// PrivateFolder opens (O_PATH) the private folder dir of the container whose
// first process is pid, and mounts it where that is not done. Call it after
// create.
func PrivateFolder(pid int, dir string) (*os.File, error) { return mounts.PrivateFolder(pid, dir) }
