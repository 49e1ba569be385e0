package prepare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/bundle"
)

// Prepare makes the cgroups, mounts and directories of b. On an error it unmounts what it
// has mounted. release unmounts the mounts inside the bundle; it may be called more than
// once.
func Prepare(b *bundle.Bundle) (release func() error, err error) {
	var made []string
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("cannot prepare %s: %w", b.Name, err), unmount(made))
		}
	}()
	if err := makeCgroups(cgroupRoot, b.Runtime.Cgroups); err != nil {
		return nil, err
	}
	if err := checkBinds(b); err != nil {
		return nil, err
	}
	var own []string
	if b.Image != nil {
		own = append(own, b.Image.Target)
		new, err := mountImage(b.Image)
		if new {
			made = append(made, b.Image.Target)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, m := range plan(b) {
		target, new, err := apply(b, m)
		if new {
			made = append(made, target)
		}
		if m.makes && m.private {
			own = append(own, target)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := errors.Join(makeDirs(b), ownDirs(b)); err != nil {
		return nil, err
	}
	return func() error { return unmount(own) }, nil
}

// Release unmounts the mounts inside b that a call of Prepare has made in an earlier
// process. Those that are not mounted are no error.
func Release(b *bundle.Bundle) error {
	var own []string
	if b.Image != nil {
		own = append(own, b.Image.Target)
	}
	for _, m := range plan(b) {
		if !m.makes || !m.private {
			continue
		}
		if m.below {
			var err error
			if m.Destination, err = below(b, m.Destination); err != nil {
				return err
			}
		}
		own = append(own, m.Destination)
	}
	return unmount(own)
}

// apply makes one mount. made is false if it existed, or if only an existing mount was
// changed.
func apply(b *bundle.Bundle, m mount) (target string, made bool, err error) {
	if m.users {
		return applyUsers(b, m)
	}
	if m.below {
		if m.Destination, err = below(b, m.Destination); err != nil {
			return "", false, err
		}
	}
	if err := makeOverlayDirs(overlayOf(m.Mount)); err != nil {
		return "", false, err
	}
	if m.makes {
		if err := makeDestination(m.Mount); err != nil {
			return "", false, err
		}
		there, err := isMounted(m.Mount)
		if there || err != nil || m.root && b.OwnUsers() && usersMounted(m.Destination) {
			return m.Destination, false, err
		}
	}
	err = mounts.Mount(m.Source, m.Destination, m.Type, m.Options)
	return m.Destination, m.makes && err == nil, err
}

// makeOverlayDirs makes the upper and work directories of an overlay. A new upper one
// gets owner and mode of the lower: the overlay's root has those of the upper directory
// (the kernel's Documentation/filesystems/overlayfs.rst, "Upper and Lower").
func makeOverlayDirs(o overlay) error {
	_, err := os.Stat(o.upper)
	isNew := os.IsNotExist(err)
	for _, dir := range []string{o.upper, o.work} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make overlay directory: %w", err)
		}
	}
	var lower unix.Stat_t
	if o.upper == "" || !isNew || unix.Stat(o.lower, &lower) != nil { // The mount reports it.
		return nil
	}
	if err := os.Chown(o.upper, int(lower.Uid), int(lower.Gid)); err != nil {
		return fmt.Errorf("cannot set the owner of an overlay directory: %w", err)
	}
	if err := unix.Chmod(o.upper, lower.Mode&0o7777); err != nil {
		return fmt.Errorf("cannot set the mode of overlay directory %s: %w", o.upper, err)
	}
	return nil
}

// below resolves path inside the root filesystem, so that symbolic links do not lead
// out of it.
func below(b *bundle.Bundle, path string) (string, error) {
	rel, err := filepath.Rel(b.Rootfs(), path)
	if err != nil {
		return "", fmt.Errorf("cannot resolve %s: %w", path, err)
	}
	resolved, err := securejoin.SecureJoin(b.Rootfs(), rel)
	if err != nil {
		return "", fmt.Errorf("cannot resolve %s below %s: %w", rel, b.Rootfs(), err)
	}
	return resolved, nil
}

// makeDestination makes a missing mount point: a file for a bind of a file, otherwise a
// directory.
func makeDestination(m bundle.Mount) error {
	if _, err := os.Stat(m.Destination); err == nil {
		return nil
	}
	dir := m.Destination
	info, err := os.Stat(m.Source)
	file := m.IsBind() && err == nil && !info.IsDir()
	if file {
		dir = filepath.Dir(m.Destination)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make mount point: %w", err)
	}
	if file {
		return touch(m.Destination)
	}
	return nil
}

func touch(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("cannot make mount point: %w", err)
	}
	return f.Close()
}

// isMounted reports whether m is mounted already.
func isMounted(m bundle.Mount) (bool, error) {
	target, err := filepath.EvalSymlinks(m.Destination)
	if err != nil {
		return false, fmt.Errorf("cannot resolve mount point: %w", err)
	}
	elsewhere := func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != target, false }
	at, err := mountinfo.GetMounts(elsewhere)
	if err != nil {
		return false, fmt.Errorf("cannot read mountinfo: %w", err)
	}
	if len(at) == 0 || !m.IsBind() {
		return covers(at, m), nil
	}
	source, err1 := os.Stat(m.Source)
	dest, err2 := os.Stat(m.Destination)
	return err1 == nil && err2 == nil && os.SameFile(source, dest), nil
}

// unmount unmounts targets, the last first. A target that is not mounted is no error. A
// busy one is detached with the mounts below it, and ends with its last user. Detaching
// would also unmount these at their source where that is shared, as / is with a
// recursive bind (mount_namespaces(7)), so propagation is turned off before.
func unmount(targets []string) error {
	var errs []error
	for _, target := range slices.Backward(targets) {
		err := mounts.Unmount(target, 0)
		if errors.Is(err, unix.EBUSY) {
			if err = mounts.Mount("", target, "", []string{"rprivate"}); err == nil {
				err = mounts.Unmount(target, unix.MNT_DETACH)
			}
		}
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// UnmountAll unmounts everything that is mounted on target. It is no error if nothing is, or if there is no
// target.
func UnmountAll(target string) error {
	for {
		mounted, err := mountinfo.Mounted(target)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && !mounted:
			return nil
		case err != nil:
			return fmt.Errorf("cannot find out what is mounted: %w", err)
		}
		if err := unmount([]string{target}); err != nil {
			return err
		}
	}
}

func makeDirs(b *bundle.Bundle) error {
	for _, dir := range b.Runtime.Mkdir {
		if !filepath.IsAbs(dir) {
			var err error
			if dir, err = below(b, filepath.Join(b.Rootfs(), filepath.Join("/", dir))); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make directory: %w", err)
		}
	}
	return nil
}
