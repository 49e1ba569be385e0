package prepare

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// makeCgroups makes each path in the unified hierarchy at root, or in every
// controller's hierarchy below it.
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
		if entry.IsDir() { // links are second names of joint controllers
			all = append(all, filepath.Join(root, entry.Name()))
		}
	}
	return all, nil
}
