package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"keelson/runtime/watch"
)

// Cap keeps a file that another process appends to (O_APPEND) within limit, until ctx
// ends: when the file reaches half of the limit, it is copied to PATH.1 and truncated.
// Bytes that are appended between the two are lost.
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
	for {
		if err := shorten(path, limit); err != nil && !errors.Is(err, fs.ErrNotExist) {
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

// shorten truncates the file at path when it is larger than limit. Its last bytes are
// copied to the rotated file.
func shorten(path string, limit int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() <= limit {
		return err
	}
	if err := os.Remove(Old(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	old, err := os.OpenFile(Old(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, copied := io.Copy(old, io.NewSectionReader(f, max(0, info.Size()-limit), 2*limit))
	// Truncate even when there is no room for a copy.
	return errors.Join(f.Truncate(0), old.Close(), ignoreFull(copied))
}

// ignoreFull returns nil for the error of a full disk, which the truncation remedies.
func ignoreFull(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil
	}
	return err
}
