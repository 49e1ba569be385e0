package kernel

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"keelson/testvm/image/config"
	"keelson/testvm/image/tree"
)

// Kernel is a kernel and the files that it adds to the root.
type Kernel struct {
	Image []byte
	UCode []byte     // an uncompressed cpio archive that precedes the initrd; may be empty
	Root  *tree.Tree // modules and the like
	Trees *tree.Tree // device trees of boards, NAME.dtb; nil or empty if there are none
}

// FromFile reads a kernel without modules.
func FromFile(name string) (*Kernel, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read kernel: %w", err)
	}
	return &Kernel{Image: b, Root: tree.New()}, nil
}

// FromImage reads the kernel, the archive of its modules and microcode from an image's
// files.
func FromImage(files *tree.Tree, k config.Kernel) (*Kernel, error) {
	out := &Kernel{Root: tree.New()}
	var err error
	if out.Image, err = member(files, orDefault(k.Binary, "kernel")); err != nil {
		return nil, err
	}
	tar := "kernel.tar"
	if k.Tar != nil {
		tar = *k.Tar
	}
	if tar != "none" && tar != "" {
		b, err := member(files, tar)
		if err != nil {
			return nil, fmt.Errorf("%w (tar: none if there is none)", err)
		}
		if err := out.Root.ReadTar(bytes.NewReader(b)); err != nil {
			return nil, fmt.Errorf("cannot unpack %s of kernel image: %w", tar, err)
		}
	}
	if k.UCode != nil && *k.UCode != "" {
		if out.UCode, err = member(files, *k.UCode); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func member(files *tree.Tree, name string) ([]byte, error) {
	at, err := files.Resolve(name)
	if err != nil {
		return nil, err
	}
	e, ok := files.Get(at)
	if !ok || e.Type != tree.File {
		return nil, fmt.Errorf("cannot find file %s in kernel image, which contains %s", name, topLevel(files))
	}
	return e.Data, nil
}

func topLevel(files *tree.Tree) string {
	var names []string
	for _, e := range files.Entries() {
		if !strings.Contains(e.Path, "/") {
			names = append(names, e.Path)
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
