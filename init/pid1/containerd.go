package pid1

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
)

// Settings of containerd. PID 1 looks only whether they exist.
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

// places are what containerd uses from its start on, identified by file system and
// inode: what runs during the boot may mount a disk over a folder or bring a file.
type places [5]struct{ Dev, Ino uint64 }

func containerdPlaces() places {
	folders := []string{"/var/lib/containerd", "/run/containerd"}
	for _, dir := range folders {
		_ = os.MkdirAll(dir, 0o711) // So that it has an identity before containerd starts; an error is containerd's too.
	}
	var found places
	for i, path := range append(folders, "/var/log", containerdConfig, containerdSettings) {
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
	if _, err := os.Stat(containerdPath); err != nil {
		return false, fmt.Errorf("cannot run services: %w", err)
	}
	return true, nil
}

// keepContainerd starts containerd if there are services for it.
func (p *pid1) keepContainerd() error {
	wanted, err := containerdWanted()
	if wanted && p.keepers.get(nameContainerd) == nil {
		p.keepers.add(p.newKeeper(nameContainerd))
	}
	return err
}

// containerdEarly starts containerd beside the boot role, unless its settings may
// name folders that do not exist yet.
func (p *pid1) containerdEarly() error {
	p.note(func(s *state) { s.Folders = containerdPlaces() })
	if containerdConfigured() {
		return nil
	}
	return p.keepContainerd()
}

// containerdAfterBoot starts containerd where that has waited for the boot role, and
// starts it again when its places have changed.
func (p *pid1) containerdAfterBoot(ctx context.Context) error {
	now, keeper := containerdPlaces(), p.keepers.get(nameContainerd)
	changed := now != p.summary().Folders
	switch {
	case ctx.Err() != nil, keeper != nil && !changed:
		return nil
	case keeper == nil && !changed && !containerdConfigured():
		return nil // containerdEarly has tried.
	}
	p.note(func(s *state) { s.Folders = now })
	if keeper != nil {
		p.log.Info("containerd is started again: the boot has mounted a disk on its folders or log, or brought its settings")
		keeper.Stop(unix.SIGTERM, containerdGrace)
		p.keepers.add(p.newKeeper(nameContainerd))
		return nil
	}
	return p.keepContainerd()
}
