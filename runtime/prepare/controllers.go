package prepare

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
)

// Unsupported returns the limits of b for which this kernel has no cgroup controller. The
// runtime would not create a container with them. It returns none when the controllers
// cannot be read.
func Unsupported(b *bundle.Bundle) []bundle.ResourceLimit {
	if b.Spec == nil || b.Spec.Linux == nil {
		return nil
	}
	limits := bundle.ResourceLimits(b.Spec.Linux.Resources)
	if len(limits) == 0 {
		return nil
	}
	return unsupported(cgroupRoot, limits)
}

func unsupported(root string, limits []bundle.ResourceLimit) []bundle.ResourceLimit {
	has, known := controllers(root)
	if !known {
		return nil
	}
	return slices.DeleteFunc(limits, func(l bundle.ResourceLimit) bool { return slices.Contains(has, l.Controller) })
}

// controllers returns the controllers of the unified hierarchy (cgroup.controllers), or of
// version 1, which has a folder for each.
func controllers(root string) (names []string, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(root, &s); err != nil {
		return nil, false
	}
	if text, err := os.ReadFile(filepath.Join(root, "cgroup.controllers")); err == nil || s.Type == unix.CGROUP2_SUPER_MAGIC {
		return strings.Fields(string(text)), err == nil
	}
	entries, err := os.ReadDir(root)
	for _, e := range entries {
		for name := range strings.SplitSeq(e.Name(), ",") {
			if name == "blkio" {
				name = "io"
			}
			names = append(names, name)
		}
	}
	return names, err == nil
}
