package config

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// add merges a file as the linuxkit CLI does: lists are appended, and each key of
// kernel replaces the earlier value.
func (d *Document) add(p *part) {
	c := &d.Config
	p.first = map[string]int{"init": len(c.Init), "onboot": len(c.Onboot), "onshutdown": len(c.Onshutdown),
		"services": len(c.Services), "files": len(c.Files), "volumes": len(c.Volumes)}
	c.Kernel.override(p.config.Kernel)
	c.Init = append(c.Init, p.config.Init...)
	c.Onboot = append(c.Onboot, p.config.Onboot...)
	c.Onshutdown = append(c.Onshutdown, p.config.Onshutdown...)
	c.Services = append(c.Services, p.config.Services...)
	c.Files = append(c.Files, p.config.Files...)
	c.Volumes = append(c.Volumes, p.config.Volumes...)
	d.parts = append(d.parts, p)
}

func (k *Kernel) override(by Kernel) {
	for to, from := range map[*string]string{&k.Image: by.Image, &k.Cmdline: by.Cmdline, &k.Binary: by.Binary} {
		if from != "" {
			*to = from
		}
	}
	if by.Tar != nil {
		k.Tar = by.Tar
	}
	if by.UCode != nil {
		k.UCode = by.UCode
	}
	if by.Modules != nil {
		k.Modules = by.Modules
	}
}

// inList matches the path of a field in a list, such as services[0].uid.
var inList = regexp.MustCompile(`^([a-z]+)\[(\d+)\](.*)$`)

// where returns the file that contains a field of the document, and the field's path
// there. For a field that is in no file, it is the last file that contains a field
// above it, or else the last file.
func (d *Document) where(field string) (p *part, own string) {
	if m := inList.FindStringSubmatch(field); m != nil {
		n, _ := strconv.Atoi(m[2]) // Digits; no file has a number too large for an int.
		for _, p := range slices.Backward(d.parts) {
			if first, ok := p.first[m[1]]; ok && n >= first {
				return p, fmt.Sprintf("%s[%d]%s", m[1], n-first, m[3])
			}
		}
	}
	for at := field; at != ""; at = parent(at) {
		for _, p := range slices.Backward(d.parts) {
			if p.line(at) > 0 {
				return p, field
			}
		}
	}
	return d.parts[len(d.parts)-1], field
}

// rebase makes the relative paths of a file relative to the folder of the last file.
func (c *Config) rebase(base string) {
	if base == "" || base == "." {
		return
	}
	c.Kernel.Image = rebaseRef(c.Kernel.Image, base)
	// Aliases can make lists share their entries.
	c.Init, c.Files, c.Volumes = slices.Clone(c.Init), slices.Clone(c.Files), slices.Clone(c.Volumes)
	for i := range c.Init {
		c.Init[i] = rebaseRef(c.Init[i], base)
	}
	for _, list := range []*[]Image{&c.Onboot, &c.Onshutdown, &c.Services} {
		*list = slices.Clone(*list)
		for i := range *list {
			(*list)[i].Image = rebaseRef((*list)[i].Image, base)
		}
	}
	for i := range c.Volumes {
		c.Volumes[i].Image = rebaseRef(c.Volumes[i].Image, base)
	}
	for i := range c.Files {
		if c.Files[i].Source != "" {
			c.Files[i].Source = rebasePath(c.Files[i].Source, base)
		}
	}
}

// rebaseRef applies rebasePath to the path in an image reference (package source).
func rebaseRef(ref, base string) string {
	for _, kind := range []string{"oci:", "docker-archive:", "dir:", "file:"} {
		if name, ok := strings.CutPrefix(ref, kind); ok {
			return kind + rebasePath(name, base)
		}
	}
	if strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "../") {
		if ref = rebasePath(ref, base); !path.IsAbs(ref) && !strings.HasPrefix(ref, "../") {
			ref = "./" + ref
		}
	}
	return ref
}

func rebasePath(name, base string) string {
	if path.IsAbs(name) || strings.HasPrefix(name, "~/") {
		return name
	}
	return path.Join(base, name)
}
