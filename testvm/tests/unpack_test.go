package tests

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// unpack writes the tree of an initrd below dir, as root.
func unpack(t *testing.T, initrd, dir string) {
	t.Helper()
	f, err := os.Open(initrd)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	r := cpio.NewReader(bufio.NewReader(z))
	links := map[int64]string{}
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := place(r, h, filepath.Join(dir, h.Name), links); err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
	}
}

// place writes one entry. The first of several hard links has the data.
func place(r io.Reader, h *cpio.Header, path string, links map[int64]string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	switch {
	case h.Mode.IsDir():
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	case h.Mode&cpio.ModeType == cpio.TypeSymlink:
		if err := os.Symlink(h.Linkname, path); err != nil {
			return err
		}
		return os.Lchown(path, h.Uid, h.Guid)
	case h.Mode.IsRegular():
		if first, ok := links[h.Inode]; ok && h.Links > 1 {
			return os.Link(first, path)
		}
		links[h.Inode] = path
		if err := copyTo(path, r); err != nil {
			return err
		}
	default:
		return nil // devtmpfs provides the device nodes.
	}
	if err := os.Lchown(path, h.Uid, h.Guid); err != nil {
		return err
	}
	return unix.Chmod(path, uint32(h.Mode)&0o7777)
}

func copyTo(path string, r io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
