package prepare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

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

// leftTime is how long processes in a cgroup that is removed may take to end.
const leftTime = 5 * time.Second

// RemoveCgroups removes the cgroup at path and those below, and kills the processes in them.
// It keeps the cgroups at the paths in keep with their ancestors and descendants.
func RemoveCgroups(path string, keep []string) error { return removeCgroups(cgroupRoot, path, keep) }

func removeCgroups(root, path string, keep []string) error {
	if path = filepath.Join("/", path); path == "/" { // All processes of the machine are there.
		return errors.New("cannot remove cgroups: a path below the root cgroup is needed")
	}
	hierarchies, err := hierarchies(root)
	if err != nil {
		return fmt.Errorf("cannot remove cgroups: %w", err)
	}
	var errs []error
	for _, h := range hierarchies {
		errs = append(errs, removeTree(root, h, path, keep))
	}
	return errors.Join(errs...)
}

func removeTree(root, hierarchy, path string, keep []string) error {
	if slices.Contains(keep, path) {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(hierarchy, path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove cgroups: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if entry.IsDir() {
			errs = append(errs, removeTree(root, hierarchy, filepath.Join(path, entry.Name()), keep))
		}
	}
	if len(bundle.Nested(path, keep)) == 0 {
		errs = append(errs, removeOne(root, hierarchy, path))
	}
	return errors.Join(errs...)
}

// removeOne removes a cgroup without others below it.
func removeOne(root, hierarchy, path string) error {
	dir := filepath.Join(hierarchy, path)
	err := os.Remove(dir)
	if errors.Is(err, unix.EBUSY) {
		killLeft(root, path, leftTime)
		err = os.Remove(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove cgroup: %w", err)
	}
	return nil
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
