// Package cache stores downloaded and generated files under keys derived from their
// inputs, and verifies their digest on every use.
//
// Writes are atomic, so that concurrent and interrupted builds leave no partial files.
// Builds are not locked against each other, except with Lock for tools that need it.
package cache

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir returns the default cache folder: keelson in the user's cache folder.
func Dir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cannot find a cache folder: %w", err)
	}
	return filepath.Join(dir, "keelson"), nil
}

// Key returns a name derived from parts.
func Key(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Check compares a file with its SHA-256 digest in hexadecimal.
func Check(file, want string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	return errors.Join(check(f, want), f.Close())
}

func check(f *os.File, want string) error {
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%s has digest %s, not %s", f.Name(), got, want)
	}
	return nil
}

// WriteFile writes a file atomically, and makes the folders above it.
func WriteFile(file string, data []byte) error {
	return WriteTo(file, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteTo is like WriteFile for content that write writes piece by piece.
func WriteTo(file string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("cannot write %s: %w", file, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", file, err)
	}
	defer os.Remove(tmp.Name())
	err = errors.Join(write(tmp), tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", file, err)
	}
	return nil
}

// Store is a folder of files, each with its digest in a second file.
type Store struct{ Dir string }

// Get returns the content stored under key, or false if there is none or it is damaged.
func (s Store) Get(key string) ([]byte, bool) {
	data, err := os.ReadFile(filepath.Join(s.Dir, key))
	if err != nil {
		return nil, false
	}
	want, err := os.ReadFile(filepath.Join(s.Dir, key+".sha256"))
	sum := sha256.Sum256(data)
	return data, err == nil && string(want) == hex.EncodeToString(sum[:])
}

// Put stores data under key.
func (s Store) Put(key string, data []byte) error {
	sum := sha256.Sum256(data)
	if err := WriteFile(filepath.Join(s.Dir, key), data); err != nil {
		return err
	}
	return WriteFile(filepath.Join(s.Dir, key+".sha256"), []byte(hex.EncodeToString(sum[:])))
}

// Open opens the file stored under key, or returns false if there is none or it is damaged.
// The file can be read to its end although another build may remove it from the store.
func (s Store) Open(key string) (*os.File, bool) {
	f, err := os.Open(filepath.Join(s.Dir, key))
	if err != nil {
		return nil, false
	}
	want, err := os.ReadFile(f.Name() + ".sha256")
	if err == nil {
		err = check(f, string(want))
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, false
	}
	return f, true
}

// Write stores what write writes under key, without holding it in memory.
func (s Store) Write(key string, write func(io.Writer) error) error {
	h := sha256.New()
	file := filepath.Join(s.Dir, key)
	if err := WriteTo(file, func(w io.Writer) error { return write(io.MultiWriter(w, h)) }); err != nil {
		return err
	}
	return WriteFile(file+".sha256", []byte(hex.EncodeToString(h.Sum(nil))))
}

// Lock waits for an exclusive lock on file.
func Lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", file, err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot lock %s: %w", file, err), f.Close())
	}
	return func() { f.Close() }, nil
}

// Keep removes all but the n newest entries.
func (s Store) Keep(n int) error {
	sums, err := filepath.Glob(filepath.Join(s.Dir, "*.sha256"))
	if err != nil {
		return fmt.Errorf("cannot list cache %s: %w", s.Dir, err)
	}
	at := map[string]int64{}
	for _, f := range sums {
		if info, err := os.Stat(f); err == nil {
			at[f] = info.ModTime().UnixNano()
		}
	}
	slices.SortFunc(sums, func(a, b string) int { return cmp.Compare(at[b], at[a]) })
	for _, f := range sums[min(n, len(sums)):] {
		if err := errors.Join(os.Remove(f), os.Remove(strings.TrimSuffix(f, ".sha256"))); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("cannot clear cache %s: %w", s.Dir, err)
		}
	}
	return nil
}
