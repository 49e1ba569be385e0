package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"keelson/init/covered"
	"keelson/mounts"
)

// Report lists what Files did.
type Report struct {
	Copied int       // number of files, links, nodes and folders
	Kept   []string  // paths that existed and were left unchanged
	Failed []Failure // entries that are missing or incomplete
}

// Failure is an entry that is missing, or lacks one of its attributes.
type Failure struct {
	Path string
	Err  error
}

// view is where the root is mounted a second time, in a mount namespace of the
// thread that copies.
const view = covered.Own + "/image"

// Files copies the files that the mounts on dirs cover to these mounts. When ctx ends,
// the rest is not copied; each folder concerned is a Failure.
func Files(ctx context.Context, dirs []string) (Report, error) {
	if err := os.MkdirAll(view, 0o700); err != nil {
		return Report{}, fmt.Errorf("cannot make a mount point for the image: %w", err)
	}
	defer os.Remove(view)
	move := mounts.RootIsInitramfs()
	c := copier{source: view, move: move, links: map[inode]string{}}
	err := mounts.Uncovered(view, move, func() {
		for _, dir := range dirs {
			if slices.Contains(covered.Folders(), dir) {
				c.folder(ctx, dir)
			}
		}
	})
	return c.report, err
}

// folder copies one of Folders, unless nothing is mounted on it.
func (c *copier) folder(ctx context.Context, dir string) {
	var below, top unix.Stat_t
	err := errors.Join(unix.Lstat(c.source+dir, &below), unix.Stat(dir, &top))
	if err != nil || below.Mode&unix.S_IFMT != unix.S_IFDIR || below.Dev == top.Dev && below.Ino == top.Ino {
		return
	}
	c.entry(ctx, dir)
}

// entry copies path and everything below it.
func (c *copier) entry(ctx context.Context, path string) {
	var st unix.Stat_t
	err := ctx.Err()
	if err == nil && path != covered.Own {
		if err = unix.Lstat(c.source+path, &st); err == nil {
			err = c.copy(ctx, path, &st)
		}
	}
	if err != nil {
		c.report.Failed = append(c.report.Failed, Failure{path, err})
	}
}

// copy copies an entry according to its type. An existing file stays; the entries of a
// folder are copied to an existing folder.
func (c *copier) copy(ctx context.Context, path string, st *unix.Stat_t) error {
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	switch there, err := os.Stat(path); { // A link such as /var/run is a folder, too.
	case err == nil && isDir && there.IsDir():
		return c.entries(ctx, path)
	case exists(path):
		c.report.Kept = append(c.report.Kept, path)
		return nil
	}
	if err := hasRoom(filepath.Dir(path), st); err != nil {
		return err
	}
	if !isDir {
		return c.file(ctx, path, st)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	c.report.Copied++
	return errors.Join(c.entries(ctx, path), c.attributes(path, path, st)) // Modes and times last.
}

// entries copies the entries of a folder.
func (c *copier) entries(ctx context.Context, dir string) error {
	list, err := os.ReadDir(c.source + dir)
	for i, e := range list {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d of its %d entries are not copied: %w", len(list)-i, len(list), err)
		}
		c.entry(ctx, filepath.Join(dir, e.Name()))
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// hasRoom reports an error when a file would fill a file system: files of the image may
// use half of its blocks and of its inodes.
func hasRoom(dir string, st *unix.Stat_t) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return err
	}
	block := max(int64(fs.Bsize), 1)
	need := uint64(0)
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		need = uint64((st.Size + block - 1) / block)
	}
	if fs.Blocks > 0 && need+fs.Blocks/2 > fs.Bavail { // A tmpfs without a limit has 0.
		return fmt.Errorf("no room: with its %d kB, files of the image would take more than half of the file system's %d kB",
			st.Size/1024, fs.Blocks*uint64(block)/1024)
	}
	if fs.Files > 0 && 1+fs.Files/2 > fs.Ffree {
		return fmt.Errorf("no room: files of the image would take more than half of the file system's %d inodes", fs.Files)
	}
	return nil
}
