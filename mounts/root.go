package mounts

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// LeaveInitramfs gives the process a root mount that has a parent, which pivot_root(2)
// and so all OCI runtimes need. The kernel's initial root has none: LeaveInitramfs binds
// `/` on a folder, moves the mounts below `/` there, and moves that mount over `/`. It
// copies nothing. It does nothing on a root that has a parent, such as one on a disk. It
// needs /proc. Call it before other threads use paths: root and working folder change
// for the whole process.
func LeaveInitramfs() (left bool, err error) {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return false, fmt.Errorf("cannot read the root mount: %w", err)
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

// OnInitramfs reports whether the root is the kernel's initial root, without a parent.
func OnInitramfs() (bool, error) {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return false, fmt.Errorf("cannot read the root mount: %w", err)
	}
	return rootless(infos), nil
}

// RootIsInitramfs reports whether the root is the initramfs, whether or not
// LeaveInitramfs has been called. It is false when that cannot be known.
func RootIsInitramfs() bool {
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter("/"))
	return err == nil && len(infos) > 0 && infos[len(infos)-1].FSType == "rootfs"
}

// rootless reports whether the root mount is its own parent.
func rootless(infos []*mountinfo.Info) bool {
	for _, m := range infos {
		if m.Mountpoint == "/" && m.ID != m.Parent {
			return false // Also when it is mounted over one that is.
		}
	}
	return len(infos) > 0
}

// leavePlan binds `/` on dir and moves the mounts directly below `/` there.
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

// SealRoot makes the mount on `/` read-only, not its file system, which may have other
// mounts, and makes the whole tree shared. Call it after all writes to the root.
func SealRoot() error {
	return errors.Join(
		Mount("", "/", "", []string{"remount", "bind", "ro"}),
		Mount("", "/", "", []string{"rshared"}),
	)
}

// IsMountPoint reports whether path is a mount point.
func IsMountPoint(path string) (bool, error) {
	mounted, err := mountinfo.Mounted(strings.TrimSuffix(path, "/"))
	if err != nil {
		return false, fmt.Errorf("cannot find out whether %s is a mount point: %w", path, err)
	}
	return mounted, nil
}
