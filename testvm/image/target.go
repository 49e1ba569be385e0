package image

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/ocilayout"
)

// Target says where an OCI layout is written to.
type Target struct {
	Name   string    // a folder, or an archive if it has a suffix of one (IsArchive)
	Writer io.Writer // if not nil, gets an archive without compression instead
}

// archives are the suffixes of archives, and how these are compressed.
var archives = map[string]func(io.Writer) (io.WriteCloser, error){
	".tar":     func(w io.Writer) (io.WriteCloser, error) { return nopCloser{w}, nil },
	".tar.gz":  func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
	".tar.zst": func(w io.Writer) (io.WriteCloser, error) { return openFast(w, 0) },
}

// IsArchive reports whether a Target of that name is an archive, not a folder.
func IsArchive(name string) bool { return compressionOf(name) != nil }

func compressionOf(name string) func(io.Writer) (io.WriteCloser, error) {
	for suffix, open := range archives {
		if strings.HasSuffix(name, suffix) && filepath.Base(name) != suffix {
			return open
		}
	}
	return nil
}

// check refuses a folder with files in it, before any work is done.
func (t Target) check() error {
	if t.Writer != nil || IsArchive(t.Name) {
		return nil
	}
	return checkEmpty(t.Name)
}

// write writes a layout, or nothing.
func (t Target) write(l *ocilayout.Layout, mtime time.Time) error {
	if t.Writer != nil {
		return l.WriteTar(t.Writer, mtime)
	}
	open := compressionOf(t.Name)
	if open == nil {
		return writeNew(t.Name, l.WriteDir)
	}
	return cache.WriteTo(t.Name, func(w io.Writer) error {
		z, err := open(w)
		if err != nil {
			return err
		}
		if err := l.WriteTar(z, mtime); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return fmt.Errorf("cannot compress the archive: %w", err)
		}
		return nil
	})
}
