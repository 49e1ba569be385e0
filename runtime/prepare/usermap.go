package prepare

import (
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
)

// UnmappedRoot returns a warning when the user namespace of b does not map the owner of
// its root file system, which then belongs to nobody (65534) in the container
// (user_namespaces(7)), or "". The runtime does not use an ID-mapped mount for the root.
func UnmappedRoot(b *bundle.Bundle) string {
	if b.Spec == nil || b.Spec.Linux == nil || len(b.Spec.Linux.UIDMappings) == 0 {
		return ""
	}
	dir := b.Rootfs() // It may not be mounted yet.
	for _, m := range b.Runtime.Mounts {
		switch o := overlayOf(m); {
		case m.Destination != b.Rootfs():
		case o.lower != "":
			dir = o.lower
		case m.IsBind() && m.Source != "":
			dir = m.Source
		}
	}
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil || mapped(b.Spec.Linux.UIDMappings, st.Uid) {
		return ""
	}
	return fmt.Sprintf("linux.uidMappings does not map user %d of the machine, the owner of %s: its files belong to nobody (65534) in the container", st.Uid, dir)
}

// mapped reports whether the mappings have a user of the machine.
func mapped(mappings []specs.LinuxIDMapping, uid uint32) bool {
	return slices.ContainsFunc(mappings, func(m specs.LinuxIDMapping) bool {
		return uid >= m.HostID && uint64(uid) < uint64(m.HostID)+uint64(m.Size)
	})
}
