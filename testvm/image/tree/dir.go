package tree

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// FromDir reads a directory of the host. Everything becomes owned by root, so that the
// tree does not depend on the owners of the files. Sockets are omitted.
func FromDir(dir string) (*Tree, error) {
	t := New()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || rel == "." {
			return err
		}
		e, ok, err := fromFile(name, rel, d)
		if err != nil || !ok {
			return err
		}
		return t.Put(e)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", dir, err)
	}
	return t, nil
}

func fromFile(name, rel string, d fs.DirEntry) (Entry, bool, error) {
	info, err := d.Info()
	if err != nil {
		return Entry{}, false, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Entry{}, false, fmt.Errorf("%s has no Unix status", name)
	}
	e := Entry{Path: rel, Mode: st.Mode & 0o7777}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Type = File
		e.Data, err = os.ReadFile(name)
	case unix.S_IFDIR:
		e.Type = Dir
	case unix.S_IFLNK:
		e.Type = Symlink
		e.Link, err = os.Readlink(name)
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Type = Char
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			e.Type = Block
		}
		e.Major, e.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	case unix.S_IFIFO:
		e.Type = FIFO
	default:
		return e, false, nil
	}
	return e, true, err
}

// WriteDir writes the tree below dir, which it makes if missing. Owners, set-id bits and
// device nodes need root: for another user, all files belong to that user, and nodes are
// omitted. No file is written through a symlink that points out of dir.
func (t *Tree) WriteDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot write %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", dir, err)
	}
	defer root.Close()
	entries := t.Entries()
	for _, e := range entries {
		if err := create(root, e); err != nil {
			return fmt.Errorf("cannot write %s: %w", filepath.Join(dir, e.Path), err)
		}
	}
	// In a second pass, deepest first: the mode of a directory may deny access to its owner.
	for _, e := range slices.Backward(entries) {
		if err := setAttributes(root, e); err != nil {
			return fmt.Errorf("cannot write %s: %w", filepath.Join(dir, e.Path), err)
		}
	}
	return nil
}

// create makes one entry, accessible only to its owner.
func create(root *os.Root, e Entry) error {
	switch e.Type {
	case Dir:
		return root.MkdirAll(e.Path, 0o700)
	case File:
		return root.WriteFile(e.Path, e.Data, 0o600)
	case Symlink:
		return root.Symlink(e.Link, e.Path)
	case FIFO:
		return mknod(root, e, unix.S_IFIFO)
	case Char:
		return mknod(root, e, unix.S_IFCHR)
	case Block:
		return mknod(root, e, unix.S_IFBLK)
	}
	return fmt.Errorf("unknown type %q", e.Type)
}

func mknod(root *os.Root, e Entry, kind uint32) error {
	if kind != unix.S_IFIFO && os.Geteuid() != 0 {
		return nil
	}
	parent, err := root.Open(path.Dir(e.Path))
	if err != nil {
		return err
	}
	defer parent.Close()
	return unix.Mknodat(int(parent.Fd()), path.Base(e.Path), kind|0o600, int(unix.Mkdev(e.Major, e.Minor)))
}

// setAttributes sets the owner, then the mode, because chown(2) clears set-id bits.
func setAttributes(root *os.Root, e Entry) error {
	privileged := os.Geteuid() == 0
	if !privileged && (e.Type == Char || e.Type == Block) {
		return nil
	}
	if privileged {
		if err := root.Lchown(e.Path, e.UID, e.GID); err != nil {
			return err
		}
	}
	if e.Type == Symlink {
		return nil
	}
	mode := fs.FileMode(e.Mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if e.Mode&bit != 0 && (privileged || flag == fs.ModeSticky) {
			mode |= flag
		}
	}
	return root.Chmod(e.Path, mode)
}
