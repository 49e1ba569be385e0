package signing

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
)

// replace writes the artifact with another index.json.
func (l *layout) replace(index []byte) error {
	info, err := os.Stat(l.path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return writeNew(l.path, info.Mode().Perm(), func(w io.Writer) error { return l.copyTar(w, index) })
	}
	name := filepath.Join(l.path, indexFile)
	return writeNew(name, 0o644, func(w io.Writer) error {
		_, err := w.Write(index)
		return err
	})
}

// writeNew replaces a file by what write writes, or leaves it alone.
func writeNew(name string, mode os.FileMode, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".signing-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(write(f), f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// copyTar writes the archive of the artifact, compressed as it is, with another index.json.
func (l *layout) copyTar(w io.Writer, index []byte) error {
	f, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, compress, err := decompress(f)
	if err != nil {
		return err
	}
	defer plain.Close()
	packed, err := compress(w)
	if err != nil {
		return err
	}
	from, to := tar.NewReader(plain), tar.NewWriter(packed)
	for {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			return errors.Join(to.Close(), packed.Close())
		}
		if err != nil {
			return err
		}
		if err := copyEntry(to, h, from, index); err != nil {
			return err
		}
	}
}

func copyEntry(to *tar.Writer, h *tar.Header, from io.Reader, index []byte) error {
	isIndex := path.Clean(h.Name) == indexFile && h.Typeflag == tar.TypeReg
	if isIndex {
		h.Size = int64(len(index))
	}
	if err := to.WriteHeader(h); err != nil {
		return err
	}
	if isIndex {
		_, err := to.Write(index)
		return err
	}
	_, err := io.Copy(to, from)
	return err
}
