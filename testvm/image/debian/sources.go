package debian

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Keyring holds the keys of Debian's archive; package debian-archive-keyring.
const Keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

const keyringName = "debian-archive"

// Source is an archive of packages.
type Source struct {
	URIs, Suites, Components []string
}

// suites are the names of Debian's releases in a source, before a dash.
var suites = []string{
	"buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid",
	"oldoldstable", "oldstable", "stable", "testing", "unstable",
}

// HostSources reads the sources below dir, usually /etc/apt, and returns Debian's:
// signed by its keyring, or without a key and with a suite that has a name of Debian's.
// If such a source is not Debian's after all, apt's check of signatures fails.
func HostSources(dir string) ([]Source, error) {
	files := []string{filepath.Join(dir, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		more, err := filepath.Glob(filepath.Join(dir, "sources.list.d", pattern))
		if err != nil {
			return nil, fmt.Errorf("cannot list apt's sources: %w", err)
		}
		files = append(files, more...)
	}
	var out []Source
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read apt's sources: %w", err)
		}
		if strings.HasSuffix(f, ".sources") {
			out = append(out, parseDeb822(string(b))...)
		} else {
			out = append(out, parseOneLine(string(b))...)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("cannot find a source of Debian packages in %s and %s",
			files[0], filepath.Join(dir, "sources.list.d"))
	}
	return out, nil
}

// firstReleases are the first releases of Debian for architectures that not all suites
// have.
var firstReleases = map[string]string{"riscv64": "trixie"}

// forArch replaces older releases by the first one that has arch. It omits their suites of
// updates, because a mirror of an older release may lack them.
func forArch(sources []Source, arch string) []Source {
	first := slices.Index(suites, firstReleases[arch])
	if first < 0 {
		return sources
	}
	var out []Source
	for _, s := range sources {
		var mine []string
		for _, suite := range s.Suites {
			name, _, more := strings.Cut(strings.ReplaceAll(suite, "/", "-"), "-")
			switch older := slices.Index(suites, name) < first; {
			case older && !more:
				mine = append(mine, suites[first])
			case !older:
				mine = append(mine, suite)
			}
		}
		if s.Suites = mine; len(mine) > 0 {
			out = append(out, s)
		}
	}
	return out
}

func parseDeb822(text string) (out []Source) {
	for _, st := range ParseStanzas(text) {
		s := Source{strings.Fields(st["uris"]), strings.Fields(st["suites"]), strings.Fields(st["components"])}
		if strings.EqualFold(st["enabled"], "no") || !slices.Contains(strings.Fields(st["types"]), "deb") {
			continue
		}
		if s = s.debian(st["signed-by"]); len(s.Suites) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// parseOneLine reads lines of the form: deb [option=value …] URI SUITE COMPONENT…
func parseOneLine(text string) (out []Source) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), "deb ")
		if !ok {
			continue
		}
		signedBy := ""
		if rest = strings.TrimSpace(rest); strings.HasPrefix(rest, "[") {
			options, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				continue
			}
			rest = after
			for _, o := range strings.Fields(options) {
				if v, ok := strings.CutPrefix(o, "signed-by="); ok {
					signedBy = v
				}
			}
		}
		f := strings.Fields(rest)
		if len(f) < 3 {
			continue
		}
		if s := (Source{f[:1], f[1:2], f[2:]}).debian(signedBy); len(s.Suites) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// debian returns the part of the source that is Debian's.
func (s Source) debian(signedBy string) Source {
	if signedBy != "" && !strings.Contains(signedBy, keyringName) {
		return Source{}
	}
	s.Suites = slices.DeleteFunc(slices.Clone(s.Suites), func(suite string) bool {
		name, _, _ := strings.Cut(strings.ReplaceAll(suite, "/", "-"), "-")
		return !slices.Contains(suites, name)
	})
	s.URIs = slices.DeleteFunc(slices.Clone(s.URIs), func(u string) bool { return strings.HasPrefix(u, "cdrom:") })
	if len(s.URIs) == 0 || len(s.Components) == 0 {
		return Source{}
	}
	return s
}

// render writes sources in deb822 form for one architecture.
func render(sources []Source, arch string) string {
	var b strings.Builder
	for _, s := range sources {
		fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nArchitectures: %s\nSigned-By: %s\n\n",
			strings.Join(s.URIs, " "), strings.Join(s.Suites, " "), strings.Join(s.Components, " "), arch, Keyring)
	}
	return b.String()
}

// Stanza is a paragraph of a control file, keyed by field name in lower case.
type Stanza map[string]string

// ParseStanzas reads deb822 paragraphs; continuation lines are joined by newlines.
func ParseStanzas(text string) (out []Stanza) {
	cur, last := Stanza{}, ""
	flush := func() {
		if len(cur) > 0 {
			out = append(out, cur)
		}
		cur, last = Stanza{}, ""
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				cur[last] += "\n" + strings.TrimSpace(line)
			}
		default:
			key, value, ok := strings.Cut(line, ":")
			if !ok {
				continue
			}
			last = strings.ToLower(strings.TrimSpace(key))
			cur[last] = strings.TrimSpace(value)
		}
	}
	flush()
	return out
}
