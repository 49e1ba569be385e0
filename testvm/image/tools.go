package image

import (
	"errors"
	"fmt"
	"os"

	"keelson/testvm/image/config"
	"keelson/testvm/image/debian"
	"keelson/testvm/image/format"
	"keelson/testvm/image/source"
)

// tool is a program of the host and the Debian package that brings it.
type tool struct{ program, pkg string }

// checkTools names, before any work, every tool that is needed and missing.
func checkTools(c *config.Config, expand func(string) string, formats []format.Format, arch string) error {
	var need []tool
	isDeb := func(ref string) bool { kind, _ := source.Split(expand(ref)); return kind == source.Deb }
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
	for _, f := range formats {
		for _, t := range f.Tools(arch) {
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
