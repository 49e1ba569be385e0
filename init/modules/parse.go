package modules

import (
	"bufio"
	"io"
	"path"
	"slices"
	"strings"
)

// Alias says that Module drives what Pattern fits.
type Alias struct{ Pattern, Module string }

// Soft are the modules wanted before and after another, if there are any.
type Soft struct{ Pre, Post []string }

// Name is the normalised name of the module in a file.
func Name(file string) string {
	base := path.Base(file)
	base, _, _ = strings.Cut(base, ".ko")
	return normal(base)
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' }

func normal(name string) string { return strings.ReplaceAll(name, "-", "_") }

// lines calls f with the fields of every line that is neither empty nor a
// comment. A line that is too long ends the reading.
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

// file is a module's file with the files it needs, the first needed last.
type file struct {
	path string
	deps []string
}

// parseDep reads modules.dep: "kernel/a.ko: kernel/b.ko kernel/c.ko".
func parseDep(r io.Reader) (map[string]file, error) {
	files := make(map[string]file)
	err := lines(r, func(f []string) {
		if name, ok := strings.CutSuffix(f[0], ":"); ok && name != "" {
			files[Name(name)] = file{path: name, deps: f[1:]}
		}
	})
	return files, err
}

// parseAlias reads modules.alias: "alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci".
func parseAlias(r io.Reader) ([]Alias, error) {
	var aliases []Alias
	err := lines(r, func(f []string) {
		if f[0] == "alias" && len(f) == 3 {
			aliases = append(aliases, Alias{Pattern: f[1], Module: normal(f[2])})
		}
	})
	return aliases, err
}

// parseSoftdep reads modules.softdep: "softdep a pre: b c post: d".
func parseSoftdep(r io.Reader) (map[string]Soft, error) {
	all := make(map[string]Soft)
	err := lines(r, func(f []string) {
		if f[0] == "softdep" && len(f) > 2 {
			all[normal(f[1])] = all[normal(f[1])].with(f[2:])
		}
	})
	return all, err
}

// with is s and the modules in words: "pre: b c post: d".
func (s Soft) with(words []string) Soft {
	into := ""
	for _, word := range words {
		switch {
		case word == "pre:" || word == "post:":
			into = word
		case into == "pre:":
			s.Pre = append(slices.Clip(s.Pre), normal(word))
		case into == "post:":
			s.Post = append(slices.Clip(s.Post), normal(word))
		}
	}
	return s
}

// parseBuiltin reads modules.builtin: a file name a line.
func parseBuiltin(r io.Reader) (map[string]bool, error) {
	builtin := make(map[string]bool)
	err := lines(r, func(f []string) { builtin[Name(f[0])] = true })
	return builtin, err
}
