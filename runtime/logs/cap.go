package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/logs/index"
	"keelson/runtime/watch"
)

// Cap keeps a file that another process appends to (O_APPEND) within limit, until ctx
// ends: when the file reaches half of the limit, it is copied to PATH.1 and truncated.
// Bytes that are appended between the two are lost. It writes the index of the file, with
// the times at which it has noticed new bytes.
func Cap(ctx context.Context, path string, limit int64) error {
	for {
		err := capWatched(ctx, path, limit/2)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot bound %s: %w", path, err)
		}
	}
}

// capWatched returns when path is a new file.
func capWatched(ctx context.Context, path string, limit int64) error {
	events, err := watch.New()
	if err != nil {
		return err
	}
	defer events.Close()
	defer context.AfterFunc(ctx, func() { _ = events.Close() })()
	// The folder has an event when the file is made or replaced.
	if err := events.Add(filepath.Dir(path), unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		return err
	}
	if err := events.Add(path, unix.IN_MODIFY); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	buffer := make([]byte, 4096)
	c := capped{path: path, limit: limit, index: index.NewWriter(path), size: -1}
	defer c.index.Close()
	for {
		if err := c.check(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		n, err := events.Read(buffer)
		if err != nil {
			return err
		}
		if created(buffer[:n], filepath.Base(path)) {
			return nil
		}
	}
}

// created reports whether inotify events name a file in the watched folder.
func created(events []byte, name string) bool {
	for e := range watch.Events(events) {
		if e.Name == name {
			return true
		}
	}
	return false
}

// capped is a file that Cap keeps within its limit.
type capped struct {
	path  string
	limit int64 // of the file and its index
	index index.Writer
	size  int64 // at the last check; -1: not known
}

// check marks in the index what was appended since the last check, and truncates the file
// when it is too large.
func (c *capped) check() error {
	f, err := os.OpenFile(c.path, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	if now := time.Now(); c.size >= 0 && info.Size() > c.size && c.index.Due(c.size, now) {
		c.index.Mark(f, c.size, now)
	}
	c.size = info.Size()
	if c.size+c.index.Size() <= c.limit {
		return nil
	}
	return c.shorten(f)
}

// shorten truncates the file. Its last bytes are copied to the rotated file.
func (c *capped) shorten(f *os.File) error {
	if err := os.Remove(Old(c.path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	old, err := os.OpenFile(Old(c.path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	from := max(0, c.size-c.limit)
	_, copied := io.Copy(old, io.NewSectionReader(f, from, 2*c.limit))
	c.index.CopyTo(Old(c.path), old, from)
	// Truncate even when there is no room for a copy.
	c.size = 0
	return errors.Join(f.Truncate(0), old.Close(), ignoreFull(copied))
}

// ignoreFull returns nil for the error of a full disk, which the truncation remedies.
func ignoreFull(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil
	}
	return err
}
