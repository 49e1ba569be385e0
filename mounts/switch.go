package mounts

import (
	"errors"
	"fmt"
	"os"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// SwitchRoot makes the mount on dir the root, as switch_root(8) does: it moves other
// mounts directly below `/` along, or unmounts them where the new root has no mount point
// for them, and removes the files of the initramfs, which frees their memory. Outside of
// an initramfs it returns an error. Root and working folder change for the whole process.
func SwitchRoot(dir string) error {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return fmt.Errorf("cannot switch to the root on %s: %w", dir, err)
	}
	if !rootless(infos) || !mountedOn(infos, dir) {
		return fmt.Errorf("cannot switch to the root on %s: it is not a mount point in an initramfs", dir)
	}
	old, err := os.OpenRoot("/")
	if err != nil {
		return fmt.Errorf("cannot switch to the root on %s: %w", dir, err)
	}
	defer old.Close()
	for _, c := range leavePlan(infos, dir)[1:] { // Without the bind of the root itself.
		if c.source == dir {
			continue
		}
		err := c.do()
		if errors.Is(err, unix.ENOENT) {
			err = Unmount(c.source, unix.MNT_DETACH)
		}
		if err != nil {
			return fmt.Errorf("cannot switch to the root on %s: %w", dir, err)
		}
	}
	if err := enter(dir); err != nil {
		return err
	}
	return empty(old)
}

func mountedOn(infos []*mountinfo.Info, dir string) bool {
	for _, m := range infos {
		if m.Mountpoint == dir {
			return true
		}
	}
	return false
}

// empty removes all files of root, which has no mounts.
func empty(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("cannot free the initramfs: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, root.RemoveAll(name))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot free the initramfs: %w", err)
	}
	return nil
}
