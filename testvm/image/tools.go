package image

import (
	"errors"
	"fmt"
	"os"

	"keelson/testvm/image/debian"
	"keelson/testvm/image/source"
)

// tool is a program of the host and the Debian package that brings it.
type tool struct{ program, pkg string }

// checkTools names, before any work, every tool that is needed and missing.
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
			need = []tool{{"apt-get", "apt"}, {"apt-cache", "apt"}, {"dpkg-deb", "dpkg"}, {debian.Keyring, "debian-archive-keyring"}}
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
	var missing []error
	told := map[tool]bool{}
	for _, t := range need {
		if !told[t] && !t.there() {
			told[t] = true
			missing = append(missing, fmt.Errorf("cannot find %s: install Debian package %s", t.program, t.pkg))
		}
	}
	return errors.Join(missing...)
}

func (t tool) there() bool {
	if t.program[0] == '/' {
		_, err := os.Stat(t.program)
		return err == nil
	}
	_, err := debian.Tool(t.program)
	return err == nil
}
