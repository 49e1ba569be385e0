package image

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/tree"
)

// cachedInitrds is the number of packed roots in the cache.
const cachedInitrds = 8

// writeInitrd writes microcode and the packed root to file. A root that was packed
// before comes from the cache.
func (b *builder) writeInitrd(file string, root *tree.Tree, ucode []byte) error {
	packed, err := b.pack(root)
	if err != nil {
		return err
	}
	defer packed.Close()
	return cache.WriteTo(file, func(w io.Writer) error {
		if _, err := w.Write(append(ucode, make([]byte, -len(ucode)&3)...)); err != nil {
			return err
		}
		_, err := io.Copy(w, packed)
		return err
	})
}

// pack opens the file in the cache that holds the root, compressed.
func (b *builder) pack(root *tree.Tree) (*os.File, error) {
	root = root.Clone()
	addNodes(root)
	root.Remove(unpackedFile) // Only the last entry may have this name.
	root.Set(tree.Entry{Path: unpackingFile, Type: tree.File, Mode: 0o444, Data: []byte("keelson build\n")})
	entries := append(initFirst(root.Entries()), tree.Entry{Path: unpackedFile, Type: tree.File, Mode: 0o444, Data: []byte("keelson build\n")})
	h, size := sha256.New(), counter(0)
	if err := tree.WriteCPIO(io.MultiWriter(h, &size), entries, b.ModTime, inContainer); err != nil {
		return nil, err
	}
	how := compressions[cmp.Or(b.Compression, Fast)]
	store := cache.Store{Dir: filepath.Join(b.CacheDir, "initrds")}
	key := cache.Key("stream", how.key, fmt.Sprintf("%x", h.Sum(nil)))
	if f, ok := store.Open(key); ok {
		return f, nil
	}
	task := b.Progress.Start(fmt.Sprintf("packing a root of %d MB", root.Size()>>20))
	err := store.Write(key, func(w io.Writer) error {
		z, err := how.open(w, int64(size))
		if err != nil {
			return err
		}
		return errors.Join(tree.WriteCPIO(z, entries, b.ModTime, inContainer), z.Close())
	})
	task.Done(err)
	if err != nil {
		return nil, fmt.Errorf("cannot pack the initrd: %w", err)
	}
	f, err := os.Open(filepath.Join(store.Dir, key))
	if err != nil {
		return nil, fmt.Errorf("cannot read the packed initrd: %w", err)
	}
	if err := store.Keep(cachedInitrds); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Nodes returns the device nodes that /dev holds before devtmpfs is mounted there. The
// kernel opens /dev/console for its first process. A program without standard file
// descriptors, because no driver serves that console, needs /dev/null. Modes are as in
// devtmpfs.
func Nodes() []tree.Entry {
	return []tree.Entry{
		{Path: "dev/console", Type: tree.Char, Mode: 0o600, Major: 5, Minor: 1},
		{Path: "dev/null", Type: tree.Char, Mode: 0o666, Major: 1, Minor: 3},
	}
}

// addNodes adds missing Nodes.
func addNodes(root *tree.Tree) {
	for _, e := range Nodes() {
		if _, ok := root.Get(e.Path); !ok {
			root.Set(e)
		}
	}
}

// Marks in an initramfs from which /init knows whether the kernel has unpacked all of
// it: the first is near the beginning, the second is the last entry.
const (
	unpackingFile = "run/keelson/unpacking"
	unpackedFile  = "run/keelson/unpacked"
)

// isFirst reports whether an entry belongs at the beginning of an initramfs.
func isFirst(path string) bool {
	return path == "init" || path == unpackingFile || strings.HasPrefix(unpackingFile, path+"/")
}

// initFirst moves /init and unpackingFile to the front.
func initFirst(entries []tree.Entry) []tree.Entry {
	out := make([]tree.Entry, 0, len(entries))
	for _, first := range []bool{true, false} {
		for _, e := range entries {
			if isFirst(e.Path) == first {
				out = append(out, e)
			}
		}
	}
	return out
}

// inContainer reports whether a file belongs to a bundle or volume. These are only
// read, so equal files can share their content.
func inContainer(e tree.Entry) bool { return strings.HasPrefix(e.Path, "containers/") }

// counter counts what is written.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}
