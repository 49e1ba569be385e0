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

// initrdsKept is how many packed roots stay in the cache.
const initrdsKept = 8

// writeInitrd packs a root to file, microcode first, or takes what was packed
// of the same root before.
func (b *builder) writeInitrd(file string, root *tree.Tree, ucode []byte) error {
	packed, err := b.pack(root)
	if err != nil {
		return err
	}
	return cache.WriteTo(file, func(w io.Writer) error {
		if _, err := w.Write(append(ucode, make([]byte, -len(ucode)&3)...)); err != nil {
			return err
		}
		return copyFrom(w, packed)
	})
}

func copyFrom(w io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// pack is the file in the cache that holds the root, compressed.
func (b *builder) pack(root *tree.Tree) (string, error) {
	root = root.Clone()
	addNodes(root)
	root.Remove(wholeFile) // One unpacked before is not the end.
	root.Set(tree.Entry{Path: begunFile, Type: tree.File, Mode: 0o444, Data: []byte("keelson build\n")})
	entries := append(initFirst(root.Entries()), tree.Entry{Path: wholeFile, Type: tree.File, Mode: 0o444, Data: []byte("keelson build\n")})
	h, size := sha256.New(), counter(0)
	if err := tree.WriteCPIO(io.MultiWriter(h, &size), entries, b.ModTime, inContainer); err != nil {
		return "", err
	}
	how := compressions[cmp.Or(b.Compression, Fast)]
	store := cache.Store{Dir: filepath.Join(b.CacheDir, "initrds")}
	key := cache.Key("stream", how.key, fmt.Sprintf("%x", h.Sum(nil)))
	if file, ok := store.Path(key); ok {
		return file, nil
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
		return "", fmt.Errorf("cannot pack the initrd: %w", err)
	}
	return filepath.Join(store.Dir, key), store.Keep(initrdsKept)
}

// Nodes are what a program finds in /dev before anybody has mounted something
// there. The kernel opens /dev/console for its first process; programs whose
// standard file descriptors are missing, because no driver serves that console,
// need /dev/null. Modes are those of devtmpfs.
func Nodes() []tree.Entry {
	return []tree.Entry{
		{Path: "dev/console", Type: tree.Char, Mode: 0o600, Major: 5, Minor: 1},
		{Path: "dev/null", Type: tree.Char, Mode: 0o666, Major: 1, Minor: 3},
	}
}

// addNodes adds Nodes that are missing.
func addNodes(root *tree.Tree) {
	for _, e := range Nodes() {
		if _, ok := root.Get(e.Path); !ok {
			root.Set(e)
		}
	}
}

// Entries of an initramfs by which /init knows whether the kernel has unpacked
// all of it: one at the beginning, the other at the very end.
const (
	begunFile = "run/keelson/unpacking"
	wholeFile = "run/keelson/unpacked"
)

// isFirst reports whether an entry stands at the beginning of an initramfs.
func isFirst(path string) bool {
	return path == "init" || path == begunFile || strings.HasPrefix(begunFile, path+"/")
}

// initFirst puts /init before all else, and with it the file that says that
// there must be an end.
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

// inContainer is true for files of bundles and volumes, which are only read:
// copies of one file in several of them can be one.
func inContainer(e tree.Entry) bool { return strings.HasPrefix(e.Path, "containers/") }

// counter counts what is written.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}
