package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// FS is a mounted file system. A missing mount point is created.
type FS struct {
	Source, Target, Type string
	Options              string
}

func (m FS) String() string { return fmt.Sprintf("%s on %s", m.Type, m.Target) }

func (m FS) Make() error {
	err := Mount(m.Source, m.Target, m.Type, []string{m.Options})
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if mkErr := os.MkdirAll(m.Target, 0o755); mkErr != nil {
		return fmt.Errorf("cannot make mount point of %s: %w", m, mkErr)
	}
	return Mount(m.Source, m.Target, m.Type, []string{m.Options})
}

// Dir is a folder with exactly this mode.
type Dir struct {
	Path string
	Mode fs.FileMode
}

func (d Dir) String() string { return fmt.Sprintf("folder %s (%v)", d.Path, d.Mode) }

func (d Dir) Make() error {
	switch err := os.Mkdir(d.Path, d.Mode); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return fmt.Errorf("cannot make folder: %w", err)
	}
	// mkdir(2) applies the umask; the mode in the table is exact.
	if err := os.Chmod(d.Path, d.Mode); err != nil {
		return fmt.Errorf("cannot make folder: %w", err)
	}
	return nil
}

// Link is a symbolic link at Path to To.
type Link struct{ To, Path string }

func (l Link) String() string { return fmt.Sprintf("link %s -> %s", l.Path, l.To) }

func (l Link) Make() error {
	if err := os.Symlink(l.To, l.Path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make link: %w", err)
	}
	return nil
}

// Node is a character device.
type Node struct {
	Path         string
	Mode         uint32 // permission bits
	Major, Minor uint32
}

func (n Node) String() string { return fmt.Sprintf("device %s (%d:%d)", n.Path, n.Major, n.Minor) }

func (n Node) Make() error {
	err := unix.Mknod(n.Path, unix.S_IFCHR|n.Mode, int(unix.Mkdev(n.Major, n.Minor)))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chmod(n.Path, fs.FileMode(n.Mode))
	}
	if err != nil {
		return fmt.Errorf("cannot make %s: %w", n, err)
	}
	return nil
}
