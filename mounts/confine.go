package mounts

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Confine makes dir the root of this process, which must be in a mount namespace of its
// own, and unmounts everything else there. The mount of the new root takes no devices, no
// set-user-ID programs and no programs at all. Descriptors of other files stay valid.
//
// dir must have no mounts below it. Root and working folder change for the whole process.
func Confine(dir string) error {
	steps := []func() error{
		func() error { return Mount("", "/", "", []string{"rprivate"}) },
		func() error { return Mount(dir, dir, "", []string{"bind", "nosuid", "nodev", "noexec"}) },
		func() error { return os.Chdir(dir) },
		// The old root is mounted over the new one, as in pivot_root(2), "pivot_root(".", ".")".
		func() error { return os.NewSyscallError("pivot_root", unix.PivotRoot(".", ".")) },
		func() error { return Unmount(".", unix.MNT_DETACH) },
		func() error { return os.Chdir("/") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("cannot make %s the root: %w", dir, err)
		}
	}
	return nil
}
