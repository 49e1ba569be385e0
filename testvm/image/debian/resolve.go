package debian

import (
	"slices"
	"strings"
)

// installOnly are packages that others depend on for their maintainer scripts, or that
// an installed system has and a container has not. Their dependencies are not followed
// either. A package that is asked for by name is included.
var installOnly = []string{
	"adduser", "base-files", "base-passwd", "cdebconf", "coreutils", "dash", "debconf", "debianutils",
	"dpkg", "e2fsprogs-l10n", "gpgv", "init-system-helpers", "install-info", "libpam-runtime",
	"linux-base", "login", "logrotate", "logsave", "lsb-base", "mount", "netbase", "passwd", "perl",
	"perl-base", "procps", "sensible-utils", "systemd", "systemd-standalone-sysusers",
	"systemd-standalone-tmpfiles", "systemd-sysv", "sysvinit-utils", "tar", "tzdata", "ucf",
	"update-inetd", "util-linux", "libdebconfclient0", "iproute2", "libc-bin",
}

// Package is a package in one version.
type Package struct {
	Name    string
	Version string
	SHA256  string
	depends [][]string // alternatives, names only
	offers  []string   // virtual packages
}

func fromStanza(s Stanza) Package {
	p := Package{Name: s["package"], Version: s["version"], SHA256: s["sha256"]}
	p.depends = append(relations(s["pre-depends"]), relations(s["depends"])...)
	for _, alt := range relations(s["provides"]) {
		p.offers = append(p.offers, alt...)
	}
	return p
}

// relations returns the names in a field such as: a (>= 1) | b:any, c [amd64].
func relations(field string) (out [][]string) {
	for _, group := range strings.Split(field, ",") {
		var names []string
		for _, alt := range strings.Split(group, "|") {
			f := strings.FieldsFunc(alt, func(r rune) bool { return strings.ContainsRune(" \t\n([<", r) })
			if len(f) == 0 {
				continue
			}
			name, _, _ := strings.Cut(f[0], ":")
			names = append(names, name)
		}
		if len(names) > 0 {
			out = append(out, names)
		}
	}
	return out
}

// closure returns the packages of apt's complete solution that the asked ones need to
// run, sorted by name.
func closure(asked []string, solution []Package) []Package {
	all := newIndex(solution)
	taken := map[string]bool{}
	for queue := slices.Clone(asked); len(queue) > 0; queue = queue[1:] {
		p, ok := all.find(queue[0])
		if !ok || taken[p.Name] || slices.Contains(installOnly, p.Name) && !slices.Contains(asked, p.Name) {
			continue
		}
		taken[p.Name] = true
		for _, alternatives := range p.depends {
			queue = append(queue, all.satisfied(alternatives))
		}
	}
	var out []Package
	for _, p := range solution {
		if taken[p.Name] {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(out, func(a, b Package) bool { return a.Name == b.Name })
}

// index finds the packages of a solution.
type index struct {
	byName  map[string]Package
	offered map[string]string // names of packages by what they provide
}

func newIndex(solution []Package) index {
	x := index{byName: map[string]Package{}, offered: map[string]string{}}
	for _, p := range solution {
		x.byName[p.Name] = p
		for _, v := range p.offers {
			x.offered[v] = p.Name
		}
	}
	return x
}

// find returns the package with the name, else one that provides it.
func (x index) find(name string) (p Package, ok bool) {
	if p, ok = x.byName[name]; !ok {
		p, ok = x.byName[x.offered[name]]
	}
	return p, ok
}

// satisfied returns the package that is the first alternative in the solution.
func (x index) satisfied(alternatives []string) string {
	for _, a := range alternatives {
		if p, ok := x.find(a); ok {
			return p.Name
		}
	}
	return ""
}

// parseSolution reads the lines "Inst NAME (VERSION …)" of apt-get --simulate
// as arguments NAME=VERSION.
func parseSolution(text string) (out []string) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "Inst ")
		if !ok {
			continue
		}
		name, rest, ok := strings.Cut(rest, " ")
		if !ok {
			continue
		}
		_, rest, ok = strings.Cut(rest, "(")
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(name, ":")
		version, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if version != "" {
			out = append(out, name+"="+version)
		}
	}
	return out
}
