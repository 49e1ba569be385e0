package names

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// apply makes the links of plan below dev and removes others from their folders. A link that
// changes is replaced in one step.
func apply(dev string, links map[string]string) error {
	var errs []error
	for _, folder := range folders {
		dir := filepath.Join(dev, folder)
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if _, wanted := links[folder+"/"+e.Name()]; !wanted && e.Type()&fs.ModeSymlink != 0 {
				errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
			}
		}
	}
	for name, node := range links {
		errs = append(errs, link(dev, name, node))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot make names of devices: %w", err)
	}
	return nil
}

func link(dev, name, node string) error {
	path := filepath.Join(dev, name)
	target := strings.Repeat("../", strings.Count(name, "/")) + node
	if now, err := os.Readlink(path); err == nil && now == target {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	next := filepath.Join(dev, ".keelson-name")
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(os.Symlink(target, next), os.Rename(next, path))
}
