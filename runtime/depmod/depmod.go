// Package depmod parses the tables of kernel modules that depmod(8) writes:
// modules.dep, modules.alias, modules.softdep, modules.builtin and modules.devname.
// The guest loads modules by them (init/modules); the image builder selects modules by
// them (testvm/image/modules). It opens no file.
//
// Module names are normalised: "-" is "_", without path and suffix. A line that is
// malformed is skipped; a line longer than 1 MiB is an error.
//
// Sources: modules.dep(5), depmod(8), modprobe.d(5) for alias and softdep.
package depmod

import (
	"bufio"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Module is a module's file and the files that it depends on, all relative to the
// folder of the table. The dependency to load first is the last one.
type Module struct {
	Path string
	Deps []string
}

// String returns the line of modules.dep for a module.
func (m Module) String() string { return strings.Join(append([]string{m.Path + ":"}, m.Deps...), " ") }

// Alias is a pattern of modaliases and the module that drives what matches.
type Alias struct{ Pattern, Module string }

// Soft holds the modules to load before and after another one, if they exist.
type Soft struct{ Pre, Post []string }

// Node is a character device whose module is loaded when the device is opened. Name is
// relative to /dev.
type Node struct {
	Name         string
	Major, Minor uint32
}

// Name returns the name of the module in a file.
func Name(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".ko")
	return Normal(base)
}

// Normal returns a module name with underscores; the kernel takes dashes for the same.
func Normal(name string) string { return strings.ReplaceAll(name, "-", "_") }

// lines calls f with the fields of every line that is neither empty nor a comment.
func lines(r io.Reader, f func(fields []string)) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if fields := strings.Fields(s.Text()); len(fields) > 0 && !strings.HasPrefix(fields[0], "#") {
			f(fields)
		}
	}
	return s.Err()
}

// ParseDep parses modules.dep, lines of "kernel/a.ko: kernel/b.ko kernel/c.ko", into
// modules by name.
func ParseDep(r io.Reader) (map[string]Module, error) {
	modules := make(map[string]Module)
	err := lines(r, func(f []string) {
		if file, ok := strings.CutSuffix(f[0], ":"); ok && file != "" {
			modules[Name(file)] = Module{Path: file, Deps: f[1:]}
		}
	})
	return modules, err
}

// ParseAlias parses modules.alias, lines of
// "alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci".
func ParseAlias(r io.Reader) ([]Alias, error) {
	var aliases []Alias
	err := lines(r, func(f []string) {
		if f[0] == "alias" && len(f) == 3 {
			aliases = append(aliases, Alias{Pattern: f[1], Module: Normal(f[2])})
		}
	})
	return aliases, err
}

// ParseSoftdep parses modules.softdep, lines of "softdep a pre: b c post: d".
func ParseSoftdep(r io.Reader) (map[string]Soft, error) {
	all := make(map[string]Soft)
	err := lines(r, func(f []string) {
		if f[0] == "softdep" && len(f) > 2 {
			name := Normal(f[1])
			all[name] = all[name].With(f[2:])
		}
	})
	return all, err
}

// With returns s with the modules of words added: "pre: b c post: d".
func (s Soft) With(words []string) Soft {
	into := ""
	for _, word := range words {
		switch {
		case word == "pre:" || word == "post:":
			into = word
		case into == "pre:":
			s.Pre = append(slices.Clip(s.Pre), Normal(word))
		case into == "post:":
			s.Post = append(slices.Clip(s.Post), Normal(word))
		}
	}
	return s
}

// ParseBuiltin parses modules.builtin, one file name per line, into names.
func ParseBuiltin(r io.Reader) (map[string]bool, error) {
	builtin := make(map[string]bool)
	err := lines(r, func(f []string) { builtin[Name(f[0])] = true })
	return builtin, err
}

// ParseDevname parses modules.devname, lines of "MODULE NAME cMAJOR:MINOR". It skips
// block devices and names that would leave /dev.
func ParseDevname(r io.Reader) ([]Node, error) {
	var nodes []Node
	err := lines(r, func(f []string) {
		if len(f) != 3 || !filepath.IsLocal(f[1]) {
			return
		}
		numbers, ok := strings.CutPrefix(f[2], "c")
		first, second, _ := strings.Cut(numbers, ":")
		major, majorErr := strconv.ParseUint(first, 10, 12) // Sizes of MAJOR and MINOR: linux/kdev_t.h.
		minor, minorErr := strconv.ParseUint(second, 10, 20)
		if ok && majorErr == nil && minorErr == nil {
			nodes = append(nodes, Node{Name: f[1], Major: uint32(major), Minor: uint32(minor)})
		}
	})
	return nodes, err
}
