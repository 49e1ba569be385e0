package tree

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// FromDir reads a directory of the host. Everything in it becomes root's, so
// that the tree does not depend on who owns the files; sockets are left out.
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

// WriteDir writes the files, directories and symlinks of the tree below dir,
// as the user who calls; owners and nodes are left out.
func (t *Tree) WriteDir(dir string) error {
	for _, e := range t.Entries() {
		name := filepath.Join(dir, e.Path)
		var err error
		switch e.Type {
		case Dir:
			err = os.MkdirAll(name, 0o755)
		case File:
			err = os.WriteFile(name, e.Data, fs.FileMode(e.Mode&0o777)|0o600)
		case Symlink:
			err = os.Symlink(e.Link, name)
		}
		if err != nil {
			return fmt.Errorf("cannot write %s: %w", name, err)
		}
	}
	return nil
}
