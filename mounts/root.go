package mounts

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// LeaveInitramfs gives the process a root mount that has a parent, which
// pivot_root(2) and so every OCI runtime needs. The kernel's own root has
// none: there `/` is bound on a folder, what is mounted below it is moved
// along, and that mount is moved over `/`. Not a byte is copied. On a root that
// has a parent, as a disk root has, nothing is done. It needs /proc and must be called before other threads care about paths:
// root and working folder change for the whole process.
func LeaveInitramfs() (left bool, err error) {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return false, fmt.Errorf("cannot read what the root is: %w", err)
	}
	if !rootless(infos) {
		return false, nil
	}
	const dir = "/run"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, fmt.Errorf("cannot leave the initramfs: %w", err)
	}
	for _, c := range leavePlan(infos, dir) {
		if err := c.do(); err != nil {
			return false, fmt.Errorf("cannot leave the initramfs: %w", err)
		}
	}
	return true, enter(dir)
}

// OnInitramfs tells whether the root is the kernel's own, without a parent.
func OnInitramfs() (bool, error) {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return false, fmt.Errorf("cannot read what the root is: %w", err)
	}
	return rootless(infos), nil
}

// RootIsInitramfs reports whether the root is the initramfs, whether or not
// LeaveInitramfs has been called. It is false when that cannot be known.
func RootIsInitramfs() bool {
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter("/"))
	return err == nil && len(infos) > 0 && infos[len(infos)-1].FSType == "rootfs"
}

// rootless tells whether the root mount is its own parent.
func rootless(infos []*mountinfo.Info) bool {
	for _, m := range infos {
		if m.Mountpoint == "/" && m.ID != m.Parent {
			return false // Also when it lies on top of one that is.
		}
	}
	return len(infos) > 0
}

// leavePlan binds `/` on dir and moves the mounts right below it there too.
func leavePlan(infos []*mountinfo.Info, dir string) []call {
	plan := []call{{op: "bind", source: "/", target: dir, flags: unix.MS_BIND}}
	root := -1
	for _, m := range infos {
		if m.Mountpoint == "/" {
			root = m.ID
		}
	}
	for _, m := range infos {
		if m.Parent == root && m.ID != root {
			plan = append(plan, call{op: "move", source: m.Mountpoint, target: dir + m.Mountpoint, flags: unix.MS_MOVE})
		}
	}
	return plan
}

// enter moves the mount on dir over `/` and makes it the root.
func enter(dir string) error {
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("cannot leave the initramfs: %w", err)
	}
	over := call{op: "move", source: dir, target: "/", flags: unix.MS_MOVE}
	err := over.do()
	if err == nil {
		if err = unix.Chroot("."); err == nil {
			err = os.Chdir("/")
		}
	}
	if err != nil {
		return fmt.Errorf("cannot leave the initramfs: %w", err)
	}
	return nil
}

// SealRoot makes `/` read-only and the whole tree shared. Read-only is the
// mount, not the file system, which may hold other mounts of its own. Call it
// after everything that has to be written to the root.
func SealRoot() error {
	return errors.Join(
		Mount("", "/", "", []string{"remount", "bind", "ro"}),
		Mount("", "/", "", []string{"rshared"}),
	)
}

// IsMountPoint tells whether something is mounted at path.
func IsMountPoint(path string) (bool, error) {
	mounted, err := mountinfo.Mounted(strings.TrimSuffix(path, "/"))
	if err != nil {
		return false, fmt.Errorf("cannot tell whether %s is a mount point: %w", path, err)
	}
	return mounted, nil
}
