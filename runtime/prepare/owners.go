package prepare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/bundle"
)

// own gives the files below root to the users of the container. The root itself is the
// last: if it belongs to one of them, all do.
func (u usersRoot) own(root string) error {
	if uid, err := ownerOf(root); err != nil || uid >= u.bundle.FirstID {
		return err
	}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != root {
			err = u.give(path)
		}
		return err
	})
	if err == nil {
		err = u.give(root)
	}
	if err != nil {
		return fmt.Errorf("cannot give the files of %s to the users of the container: %w", root, err)
	}
	return nil
}

func ownerOf(path string) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0, fmt.Errorf("cannot read the owner of %s: %w", path, err)
	}
	return st.Uid, nil
}

// give gives a file to the user and the group of the container that have the IDs of its
// owners. Files of others, and those that were given away before, stay as they are. chown(2)
// clears the set-user-ID bit and file capabilities, which are set again.
func (u usersRoot) give(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	uid, gid := u.id(st.Uid), u.id(st.Gid)
	if uid == st.Uid && gid == st.Gid {
		return nil
	}
	caps := make([]byte, 24)
	n, err := unix.Lgetxattr(path, "security.capability", caps)
	if err != nil {
		n = 0
	}
	if err := unix.Lchown(path, int(uid), int(gid)); err != nil {
		return &fs.PathError{Op: "lchown", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK && st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		if err := unix.Chmod(path, st.Mode&0o7777); err != nil {
			return &fs.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	if caps = u.capabilities(caps[:n]); caps == nil {
		return nil
	}
	if err := unix.Lsetxattr(path, "security.capability", caps, 0); err != nil {
		return &fs.PathError{Op: "lsetxattr", Path: path, Err: err}
	}
	return nil
}

func (u usersRoot) id(id uint32) uint32 {
	if id >= bundle.UserRange {
		return id
	}
	return u.bundle.FirstID + id
}

// capabilities returns the capabilities of a file (version 2, of 20 bytes) as version 3,
// which applies in the user namespace whose root it names (capabilities(7), "File capability
// extended attribute versioning"), or nil if there are none.
func (u usersRoot) capabilities(v2 []byte) []byte {
	const version2, version3, version = 0x02000000, 0x03000000, 0xff000000
	if len(v2) != 20 {
		return nil
	}
	magic := binary.LittleEndian.Uint32(v2)
	if magic&version != version2 {
		return nil
	}
	v3 := slices.Clone(v2)
	binary.LittleEndian.PutUint32(v3, magic&^version|version3)
	return binary.LittleEndian.AppendUint32(v3, u.bundle.FirstID)
}

// ownDirs gives the folders that b asks for in its root filesystem to its users. On an
// ID-mapped mount they belong to them already.
func ownDirs(b *bundle.Bundle) error {
	if !b.OwnUsers() {
		return nil
	}
	for _, dir := range b.Runtime.Mkdir {
		if filepath.IsAbs(dir) {
			continue
		}
		path, err := below(b, filepath.Join(b.Rootfs(), filepath.Join("/", dir)))
		if err == nil {
			err = usersRoot{bundle: b}.give(path)
		}
		if err != nil {
			return fmt.Errorf("cannot give folder %s to the users of the container: %w", dir, err)
		}
	}
	return nil
}

// checkBinds returns an error for a bind with the option idmap whose file system the kernel
// cannot ID-map. The runtime's own message names neither file system nor kernel.
func checkBinds(b *bundle.Bundle) error {
	if !b.OwnUsers() || b.FirstID == 0 {
		return nil
	}
	mapped := slices.DeleteFunc(slices.Clone(b.Spec.Mounts), func(m specs.Mount) bool {
		return !bundle.IsBind(m) || !slices.Contains(m.Options, "idmap") && !slices.Contains(m.Options, "ridmap")
	})
	if len(mapped) == 0 {
		return nil
	}
	users, err := mounts.UserNamespace(b.FirstID, bundle.UserRange)
	if err != nil {
		return err
	}
	defer users.Close()
	for _, m := range mapped {
		source := m.Source
		if !filepath.IsAbs(source) {
			source = filepath.Join(b.Dir, source)
		}
		// The runtime reports other errors, such as a missing source.
		if errors.Is(mounts.CheckIDMap(source, users), mounts.ErrNoIDMap) {
			return fmt.Errorf("mounts: %s: option idmap: %w; or remove idmap and give the files to user %d of the machine (root of the container)",
				m.Destination, noIDMap(source), b.FirstID)
		}
	}
	return nil
}

// noIDMap returns an error that names the file system of path and what can be done.
func noIDMap(path string) error {
	kind, version := "unknown", "unknown"
	if all, err := mountinfo.GetMounts(mountinfo.ParentsFilter(path)); err == nil {
		longest := -1
		for _, m := range all {
			if len(m.Mountpoint) >= longest {
				longest, kind = len(m.Mountpoint), m.FSType
			}
		}
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		version = unix.ByteSliceToString(name.Release[:])
	}
	return fmt.Errorf("%w: %s is on %s, kernel %s; use ext4, xfs, btrfs or erofs, or tmpfs with Linux 6.3 or later", mounts.ErrNoIDMap, path, kind, version)
}
