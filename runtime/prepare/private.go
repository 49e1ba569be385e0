package prepare

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
)

// privateName is the name of a private folder in a tmpfs of a container.
const privateName = "keelson"

// PrivateDir returns the path of a folder that exists only in the container's own mount
// namespace, and the mount for it, to be added after all others of the spec. It is a small
// tmpfs within a tmpfs that the spec mounts, preferably /dev, where the runtime can make
// the mount point even if the root file system is read-only. The path is empty when there
// is no such place: /dev is the host's, the container has no mount namespace, or its root
// has shared propagation, with which mounts below it appear outside.
func PrivateDir(s *specs.Spec) (dir string, mount specs.Mount) {
	if !ownMountNS(s) || strings.Contains(s.Linux.RootfsPropagation, "shared") {
		return "", specs.Mount{}
	}
	var own []string
	for _, m := range s.Mounts {
		target := filepath.Join("/", m.Destination)
		own = slices.DeleteFunc(own, func(covered string) bool { return inside(target, covered) })
		if isOwnTmpfs(bundle.Mount{Type: m.Type, Source: m.Source, Destination: target, Options: m.Options}) {
			own = append(own, target)
		}
	}
	if len(own) == 0 {
		return "", specs.Mount{}
	}
	dir = filepath.Join(own[0], privateName)
	if slices.Contains(own, "/dev") {
		dir = filepath.Join("/dev", privateName)
	}
	return dir, specs.Mount{
		Destination: dir, Type: "tmpfs", Source: "tmpfs",
		Options: []string{"nosuid", "nodev", "noexec", "mode=755", "size=4k", "nr_inodes=4"},
	}
}

func ownMountNS(s *specs.Spec) bool {
	return s.Linux != nil && slices.ContainsFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool {
		return ns.Type == specs.MountNamespace && ns.Path == ""
	})
}

// isOwnTmpfs reports whether a mount is a tmpfs of the container's own that every user of
// it can enter. The runtime makes read-only ones read-only after all mounts.
func isOwnTmpfs(m bundle.Mount) bool {
	if m.Type != "tmpfs" || m.IsBind() || m.HasOption("shared", "rshared") {
		return false
	}
	return m.Destination == "/dev" || !slices.ContainsFunc(m.EachOption(), func(option string) bool {
		return strings.HasPrefix(option, "mode=")
	})
}
