package pid1

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
	"keelson/runtime/paths"
)

// Settings of containerd. PID 1 only checks whether they exist.
const (
	// containerdConfig is read by containerd.
	containerdConfig = "/etc/containerd/config.toml"
	// containerdSettings is read by the supervisor's program.
	containerdSettings = "/etc/containerd/runtime-config.toml"
)

// containerdConfigured reports whether the image has settings for containerd. Its
// folders and logs can then be on a disk that the boot role mounts.
func containerdConfigured() bool {
	for _, path := range []string{containerdConfig, containerdSettings} {
		if _, err := os.Lstat(path); err == nil {
			return true
		}
	}
	return false
}

// containerdFiles identifies what containerd uses from its start on, by file system
// and inode: the boot role may mount a disk on a folder, create a file, or use another
// version of containerd itself.
type containerdFiles [6]struct{ Dev, Ino uint64 }

func statContainerdFiles() containerdFiles {
	folders := []string{"/var/lib/containerd", "/run/containerd"}
	for _, dir := range folders {
		_ = os.MkdirAll(dir, 0o711) // It must exist to be identified. containerd reports an error itself.
	}
	var found containerdFiles
	for i, path := range append(folders, paths.Logs, containerdConfig, containerdSettings, paths.Containerd) {
		var st unix.Statx_t
		// AT_STATX_DONT_SYNC: a file system that does not answer must not block the boot.
		if unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_INO, &st) == nil {
			found[i].Dev, found[i].Ino = unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino
		}
	}
	return found
}

// containerdWanted reports whether there are services for containerd.
func containerdWanted() (bool, error) {
	names, err := bundle.List(bundle.ServicesDir)
	if err != nil || len(names) == 0 {
		return false, err
	}
	if _, err := os.Stat(paths.Containerd); err != nil {
		return false, fmt.Errorf("cannot run services: %w", err)
	}
	return true, nil
}

// keepContainerd starts containerd if there are services for it.
func (p *pid1) keepContainerd() error {
	wanted, err := containerdWanted()
	if wanted && p.keepers.Get(nameContainerd) == nil {
		p.keepers.Add(p.newKeeper(nameContainerd))
	}
	return err
}

// containerdEarly starts containerd in parallel to the boot role, unless its settings
// may name folders that do not exist yet.
func (p *pid1) containerdEarly() error {
	p.note(func(s *state) { s.ContainerdFiles = statContainerdFiles() })
	if containerdConfigured() {
		return nil
	}
	return p.keepContainerd()
}

// containerdAfterBoot starts containerd if it has waited for the boot role, and restarts
// it if its files have changed.
func (p *pid1) containerdAfterBoot(ctx context.Context) error {
	now, kept := statContainerdFiles(), p.keepers.Get(nameContainerd)
	changed := now != p.summary().ContainerdFiles
	switch {
	case ctx.Err() != nil, kept != nil && !changed:
		return nil
	case kept == nil && !changed && !containerdConfigured():
		return nil // containerdEarly has tried.
	}
	p.note(func(s *state) { s.ContainerdFiles = now })
	if kept != nil {
		p.log.Info("containerd is started again: the boot has mounted a disk on its folders or log, created its settings, or replaced its program")
		kept.Stop(unix.SIGTERM, containerdGrace)
		p.keepers.Add(p.newKeeper(nameContainerd))
		return nil
	}
	return p.keepContainerd()
}
