package prepare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
)

const cgroupRoot = "/sys/fs/cgroup"

// makeCgroups makes the cgroups in the unified hierarchy at root, or in the hierarchy of
// each controller below root.
func makeCgroups(root string, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	hierarchies, err := hierarchies(root)
	if err != nil {
		return fmt.Errorf("cannot make cgroups: %w", err)
	}
	for _, path := range paths {
		for _, h := range hierarchies {
			if err := os.MkdirAll(filepath.Join(h, filepath.Join("/", path)), 0o755); err != nil {
				return fmt.Errorf("cannot make cgroup: %w", err)
			}
		}
	}
	return nil
}

// RemoveCgroups removes the cgroups below the one at path, but not that one. It keeps the
// cgroups at the paths in keep with their ancestors and descendants.
func RemoveCgroups(path string, keep []string) error { return removeCgroups(cgroupRoot, path, keep) }

func removeCgroups(root, path string, keep []string) error {
	hierarchies, err := hierarchies(root)
	if err != nil {
		return fmt.Errorf("cannot remove cgroups: %w", err)
	}
	var errs []error
	for _, h := range hierarchies {
		errs = append(errs, removeBelow(h, path, keep))
	}
	return errors.Join(errs...)
}

func removeBelow(hierarchy, path string, keep []string) error {
	entries, err := os.ReadDir(filepath.Join(hierarchy, path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove cgroups: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		below := filepath.Join(path, entry.Name())
		if !entry.IsDir() || slices.Contains(keep, below) {
			continue
		}
		errs = append(errs, removeBelow(hierarchy, below, keep))
		if len(bundle.Nested(below, keep)) > 0 {
			continue
		}
		if err := os.Remove(filepath.Join(hierarchy, below)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("cannot remove cgroup: %w", err))
		}
	}
	return errors.Join(errs...)
}

func hierarchies(root string) ([]string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(root, &s); err != nil {
		return nil, &os.PathError{Op: "statfs", Path: root, Err: err}
	}
	if s.Type == unix.CGROUP2_SUPER_MAGIC {
		return []string{root}, nil
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, entry := range entries {
		if entry.IsDir() { // symbolic links are second names of joint controllers
			all = append(all, filepath.Join(root, entry.Name()))
		}
	}
	return all, nil
}
