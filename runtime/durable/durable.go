// Package durable changes files so that a change that has returned survives a power cut,
// and one that is interrupted leaves the old state or the new one.
//
// Files whose loss at a reboot does not matter, such as those below /run, do not need it:
// for them, Replace protects readers from half a file.
//
// Sources: fsync(2), rename(2), open(2) (O_TMPFILE is not used: not all file systems have
// it).
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// temporary is appended to the name of a file or link that is not complete yet. What an
// interrupted change leaves under that name is replaced by the next one.
const temporary = ".new"

// WriteFile replaces a file, or makes it.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	if err := writeNext(path, data, perm, (*os.File).Sync); err != nil {
		return err
	}
	return Rename(path+temporary, path)
}

// Replace is WriteFile for a file whose loss at a reboot does not matter: it is not written to
// the disk. Readers see the old or the new data, never a part.
func Replace(path string, data []byte, perm fs.FileMode) error {
	if err := writeNext(path, data, perm, func(*os.File) error { return nil }); err != nil {
		return err
	}
	if err := os.Rename(path+temporary, path); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

func writeNext(path string, data []byte, perm fs.FileMode, sync func(*os.File) error) error {
	next := path + temporary
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = sync(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(next)
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// Symlink replaces a symbolic link, or makes it.
func Symlink(target, path string) error {
	next := path + temporary
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot make link %s: %w", path, err)
	}
	if err := os.Symlink(target, next); err != nil {
		return fmt.Errorf("cannot make link %s: %w", path, err)
	}
	return Rename(next, path)
}

// Rename moves a file, link or folder to a name in the same file system, replacing what
// has that name.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("cannot move %s to %s: %w", from, to, err)
	}
	if filepath.Dir(from) != filepath.Dir(to) {
		if err := SyncDir(filepath.Dir(from)); err != nil {
			return err
		}
	}
	return SyncDir(filepath.Dir(to))
}

// Remove removes a file or link. One that does not exist is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// MkdirAll makes a folder and those above it.
func MkdirAll(path string, perm fs.FileMode) error {
	path = filepath.Clean(path)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make folder %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir writes the entries of a folder to the disk. File systems without fsync(2) for
// folders are left alone.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot sync folder %s: %w", dir, err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("cannot sync folder %s: %w", dir, err)
	}
	return nil
}
