package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Volumes mounts the volumes in dir, LinuxKit's /containers/volumes: DIR/NAME/lower on
// DIR/NAME/merged, writable with a tmpfs if DIR/NAME/tmp exists, otherwise read-only. A
// failure does not prevent others; the errors, which name the volumes, are joined. It
// returns the names of the mounted volumes.
func Volumes(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list volumes: %w", err)
	}
	var names []string
	var errs []error
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := mountVolume(filepath.Join(dir, e.Name())); err != nil {
			errs = append(errs, fmt.Errorf("cannot mount volume %s: %w", e.Name(), err))
			continue
		}
		names = append(names, e.Name())
	}
	return names, errors.Join(errs...)
}

func mountVolume(dir string) error {
	done, err := IsMountPoint(filepath.Join(dir, "merged"))
	if done || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	info, err := os.Stat(filepath.Join(dir, "tmp"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for i, thing := range volumePlan(dir, err == nil && info.IsDir()) {
		if err := thing.Make(); err != nil {
			if i > 0 { // The tmpfs is mounted.
				err = errors.Join(err, Unmount(filepath.Join(dir, "tmp"), 0))
			}
			return err
		}
	}
	return nil
}

func volumePlan(dir string, writable bool) []Thing {
	lower, merged, tmp := filepath.Join(dir, "lower"), filepath.Join(dir, "merged"), filepath.Join(dir, "tmp")
	if !writable {
		return []Thing{FS{lower, merged, "", "bind,ro"}}
	}
	upper, work := filepath.Join(tmp, "upper"), filepath.Join(tmp, "work")
	return []Thing{
		FS{"tmpfs", tmp, "tmpfs", ""},
		Dir{upper, 0o755},
		Dir{work, 0o755},
		FS{"overlay", merged, "overlay", fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work)},
	}
}
