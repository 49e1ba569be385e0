package image

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"keelson/testvm/image/debian"
	"keelson/testvm/image/source"
)

// tool is a program of the host and the Debian package that contains it.
type tool struct{ program, pkg string }

// debTools download and unpack packages.
var debTools = []tool{{"apt-get", "apt"}, {"apt-cache", "apt"}, {"dpkg-deb", "dpkg"}, {debian.Keyring, "debian-archive-keyring"}}

// checkTools names every missing tool before any work is done.
func (b *builder) checkTools() error {
	c := &b.doc.Config
	var need []tool
	isDeb := func(ref string) bool { kind, _ := source.Split(b.expand(ref)); return kind == source.Deb }
	refs := append([]string{c.Kernel.Image}, c.Init...)
	for _, s := range c.Sections() {
		for _, img := range s.Images {
			refs = append(refs, img.Image)
		}
	}
	for _, v := range c.Volumes {
		refs = append(refs, v.Image)
	}
	for _, r := range refs {
		if isDeb(r) {
			need = slices.Clone(debTools)
		}
	}
	if isDeb(c.Kernel.Image) {
		need = append(need, tool{"depmod", "kmod"})
	}
	if b.Compression == Best {
		need = append(need, tool{"zstd", "zstd"})
	}
	if b.Data != nil {
		need = append(need, tool{"mke2fs", "e2fsprogs"})
	}
	for _, f := range b.formats {
		for _, t := range f.Tools(b.Arch) {
			need = append(need, tool{t.Program, t.Package})
		}
	}
	return requireTools(need)
}

// requireTools returns an error that names each missing tool once.
func requireTools(need []tool) error {
	var missing []error
	named := map[tool]bool{}
	for _, t := range need {
		if !named[t] && !t.installed() {
			named[t] = true
			missing = append(missing, fmt.Errorf("cannot find %s: install Debian package %s", t.program, t.pkg))
		}
	}
	return errors.Join(missing...)
}

func (t tool) installed() bool {
	if t.program[0] == '/' {
		_, err := os.Stat(t.program)
		return err == nil
	}
	_, err := debian.Tool(t.program)
	return err == nil
}
