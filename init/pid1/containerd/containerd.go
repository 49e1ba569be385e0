// Package containerd says what PID 1 must know of containerd before it starts it: whether
// there is work for it, whether the image has settings for it, and which files it uses.
// Nothing is parsed.
package containerd

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
	"keelson/runtime/paths"
)

// Settings of containerd.
const (
	// Config is read by containerd.
	Config = "/etc/containerd/config.toml"
	// Settings is read by the supervisor's program, which then executes containerd.
	Settings = "/etc/containerd/runtime-config.toml"
)

// Configured reports whether the image has settings for containerd. Its folders and logs
// can then be on a disk that the boot role mounts.
func Configured() bool {
	for _, path := range []string{Config, Settings} {
		if _, err := os.Lstat(path); err == nil {
			return true
		}
	}
	return false
}

// HasSettings reports whether the supervisor's program has to read settings.
func HasSettings() bool {
	_, err := os.Stat(Settings)
	return err == nil
}

// Files identifies what containerd uses from its start on, by file system and inode: the
// boot role may mount a disk on a folder, create a file, or use another version of
// containerd itself.
type Files [6]struct{ Dev, Ino uint64 }

// Stat returns the files as they are. A file that does not exist is zero.
func Stat() Files {
	folders := []string{"/var/lib/containerd", "/run/containerd"}
	for _, dir := range folders {
		_ = os.MkdirAll(dir, 0o711) // It must exist to be identified. containerd reports an error itself.
	}
	var found Files
	for i, path := range append(folders, paths.Logs, Config, Settings, paths.Containerd) {
		var st unix.Statx_t
		// AT_STATX_DONT_SYNC: a file system that does not answer must not block the boot.
		if unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_INO, &st) == nil {
			found[i].Dev, found[i].Ino = unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino
		}
	}
	return found
}

// Wanted reports whether there are services for containerd.
func Wanted() (bool, error) {
	names, err := bundle.List(bundle.ServicesDir)
	if err != nil || len(names) == 0 {
		return false, err
	}
	if _, err := os.Stat(paths.Containerd); err != nil {
		return false, fmt.Errorf("cannot run services: %w", err)
	}
	return true, nil
}
