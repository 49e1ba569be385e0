package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// copier copies from the folder source to the same paths below `/`.
type copier struct {
	source string
	move   bool // remove each file after it is copied
	links  map[inode]string
	report Report
}

// inode identifies a file that has several names.
type inode struct{ dev, ino uint64 }

// file copies an entry that is not a folder.
func (c *copier) file(ctx context.Context, path string, st *unix.Stat_t) error {
	id := inode{uint64(st.Dev), st.Ino}
	var err error
	if first, ok := c.links[id]; ok { // st.Nlink decreases when names are removed.
		err = os.Link(first, path)
	} else {
		err = c.make(ctx, path, st)
	}
	if !exists(path) {
		return err
	}
	c.report.Copied++
	if st.Nlink > 1 {
		c.links[id] = path
	}
	if c.move && err == nil {
		err = os.Remove(c.source + path)
	}
	return err
}

// make creates a file with its content and attributes.
func (c *copier) make(ctx context.Context, path string, st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return c.regular(ctx, path, st)
	case unix.S_IFLNK:
		to, err := os.Readlink(c.source + path)
		if err == nil {
			err = os.Symlink(to, path)
		}
		if err != nil {
			return err
		}
	default:
		if err := unix.Mknod(path, st.Mode, int(st.Rdev)); err != nil {
			return fmt.Errorf("cannot create the device node: %w", err)
		}
	}
	return c.attributes(path, path, st)
}

// regular copies to a file without a name and links it when it is complete.
func (c *copier) regular(ctx context.Context, path string, st *unix.Stat_t) error {
	from, err := os.Open(c.source + path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Dir(path), unix.O_TMPFILE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := copyData(ctx, to, from); err != nil {
		return err
	}
	name := fmt.Sprintf("/proc/self/fd/%d", to.Fd())
	incomplete := c.attributes(path, name, st)
	if err := unix.Linkat(unix.AT_FDCWD, name, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return fmt.Errorf("cannot link the copy: %w", err)
	}
	return incomplete
}

// copyData copies from until its end, or until ctx ends.
func copyData(ctx context.Context, to io.Writer, from io.Reader) error {
	buf := make([]byte, 256<<10)
	for ctx.Err() == nil {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// attributes copies owner, extended attributes, mode and times of the image's file at path
// to the file to. The owner comes first, because a change of the owner clears mode bits
// and capabilities.
func (c *copier) attributes(path, to string, st *unix.Stat_t) error {
	link := st.Mode&unix.S_IFMT == unix.S_IFLNK
	flags := 0
	if link {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	if err := unix.Fchownat(unix.AT_FDCWD, to, int(st.Uid), int(st.Gid), flags); err != nil {
		return fmt.Errorf("cannot set its owner: %w", err)
	}
	err := c.xattrs(path, to, link)
	if !link {
		if e := unix.Chmod(to, st.Mode&0o7777); e != nil {
			err = errors.Join(err, fmt.Errorf("cannot set its mode: %w", e))
		}
	}
	if e := unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{st.Atim, st.Mtim}, flags); e != nil {
		err = errors.Join(err, fmt.Errorf("cannot set its time: %w", e))
	}
	return err
}

// xattrs copies extended attributes, which include ACLs and file capabilities.
func (c *copier) xattrs(path, to string, link bool) error {
	set := unix.Setxattr
	if link {
		set = unix.Lsetxattr
	}
	list, err := value(func(buf []byte) (int, error) { return unix.Llistxattr(c.source+path, buf) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		data, e := value(func(buf []byte) (int, error) { return unix.Lgetxattr(c.source+path, name, buf) })
		if e == nil {
			e = set(to, name, data, 0)
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("cannot set its extended attribute %s: %w", name, e))
		}
	}
	return err
}

// value returns what get writes to a buffer. Without a buffer, get returns the size.
func value(get func([]byte) (int, error)) ([]byte, error) {
	n, err := get(nil)
	if err != nil || n == 0 {
		return nil, err
	}
	buf := make([]byte, n)
	n, err = get(buf)
	return buf[:max(n, 0)], err
}
