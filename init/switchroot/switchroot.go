// Package switchroot is what PID 1 and the role that mounts a root on a disk agree
// on: which initramfs only leads to such a root, and where the root is mounted.
//
// Sources: os-release(5), initrd-release.
package switchroot

import (
	"os"

	"keelson/mounts"
)

// Root is where the role mounts the root; PID 1 then makes it its own.
const Root = "/sysroot"

const marker = "/etc/initrd-release"

// Needed reports whether this is an initramfs that only leads to a root on a disk.
// It needs /proc.
func Needed() bool {
	if _, err := os.Stat(marker); err != nil {
		return false
	}
	own, err := mounts.OnInitramfs()
	return err == nil && own
}
