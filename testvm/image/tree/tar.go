package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"time"
)

// ReadTar adds all entries of an archive to the tree. Whiteouts have no meaning: the
// archive is a flattened image.
func (t *Tree) ReadTar(r io.Reader) error {
	tr := tar.NewReader(r)
	var links []*tar.Header
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("cannot read tar archive: %w", err)
		}
		if h.Typeflag == tar.TypeLink {
			links = append(links, h)
			continue
		}
		e, ok := fromHeader(h)
		if !ok {
			continue
		}
		if e.Type == File {
			if e.Data, err = readExactly(tr, h.Size); err != nil {
				return fmt.Errorf("cannot read %s from tar archive: %w", h.Name, err)
			}
		}
		if err := t.Put(e); err != nil {
			return err
		}
	}
	return t.putLinks(links)
}

// maxPrealloc bounds the memory that is allocated because of a header.
const maxPrealloc = 1 << 20

func readExactly(r io.Reader, size int64) ([]byte, error) {
	if size <= maxPrealloc {
		b := make([]byte, size)
		_, err := io.ReadFull(r, b)
		return b, err
	}
	return io.ReadAll(r)
}

// putLinks turns hard links into files that share their data. The target may be anywhere
// in the archive.
func (t *Tree) putLinks(links []*tar.Header) error {
	for _, h := range links {
		p, err := t.Resolve(h.Linkname)
		if err != nil {
			return err
		}
		target, ok := t.entries[p]
		if !ok {
			return fmt.Errorf("cannot make hard link %s: %s is not in the archive", h.Name, h.Linkname)
		}
		e := *target
		e.Path = Clean(h.Name)
		if err := t.Put(e); err != nil {
			return err
		}
	}
	return nil
}

func fromHeader(h *tar.Header) (Entry, bool) {
	e := Entry{
		Path: Clean(h.Name), Mode: uint32(h.Mode) & 0o7777, UID: h.Uid, GID: h.Gid,
		Link: h.Linkname, Major: uint32(h.Devmajor), Minor: uint32(h.Devminor),
	}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Type = File
	case tar.TypeDir:
		e.Type = Dir
	case tar.TypeSymlink:
		e.Type = Symlink
	case tar.TypeChar:
		e.Type = Char
	case tar.TypeBlock:
		e.Type = Block
	case tar.TypeFifo:
		e.Type = FIFO
	default:
		return e, false
	}
	if e.Type != Symlink {
		e.Link = ""
	}
	return e, e.Path != ""
}

var tarTypes = map[Type]byte{
	File: tar.TypeReg, Dir: tar.TypeDir, Symlink: tar.TypeSymlink,
	Char: tar.TypeChar, Block: tar.TypeBlock, FIFO: tar.TypeFifo,
}

// WriteTar writes all entries as a tar archive in PAX format, all with one
// modification time.
func (t *Tree) WriteTar(w io.Writer, mtime time.Time) error {
	tw := tar.NewWriter(w)
	for _, e := range t.Entries() {
		h := &tar.Header{
			Typeflag: tarTypes[e.Type], Name: e.Path, Linkname: e.Link, Size: int64(len(e.Data)),
			Mode: int64(e.Mode), Uid: e.UID, Gid: e.GID, ModTime: mtime,
			Devmajor: int64(e.Major), Devminor: int64(e.Minor), Format: tar.FormatPAX,
		}
		if e.Type == Dir {
			h.Name += "/"
		}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("cannot write %s to tar archive: %w", e.Path, err)
		}
		if _, err := tw.Write(e.Data); err != nil {
			return fmt.Errorf("cannot write %s to tar archive: %w", e.Path, err)
		}
	}
	return tw.Close()
}
