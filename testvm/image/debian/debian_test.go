package debian

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHostSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		f := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(f), 0o755)
		if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := HostSources(dir); err == nil {
		t.Error("no source at all is no error")
	}
	write("sources.list", "# old\ndeb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://example.org/debian bookworm main contrib\n"+
		"deb-src http://example.org/debian bookworm main\ndeb http://example.org/security bookworm-security main # safe\ndeb cdrom:[x]/ bookworm main\n")
	write("sources.list.d/foreign.list", "deb https://example.org/apt cloud-sdk-bookworm main\n"+
		"deb [signed-by=/etc/apt/keyrings/other.gpg] https://example.org/other bookworm main\n")
	write("sources.list.d/debian.sources", "# comment\nTypes: deb deb-src\nURIs: http://example.org/debian\nSuites: trixie trixie-updates\n  trixie-backports\n"+
		"Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb\nURIs: http://example.org/x\nSuites: nodistro\nComponents: main\n\n"+
		"Types: deb\nEnabled: no\nURIs: http://example.org/debian\nSuites: sid\nComponents: main\n")
	write("sources.list.d/off.sources.disabled", "Types: deb\nURIs: http://example.org/debian\nSuites: sid\nComponents: main\n")
	got, err := HostSources(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Source{
		{[]string{"http://example.org/debian"}, []string{"bookworm"}, []string{"main", "contrib"}},
		{[]string{"http://example.org/security"}, []string{"bookworm-security"}, []string{"main"}},
		{[]string{"http://example.org/debian"}, []string{"trixie", "trixie-updates", "trixie-backports"}, []string{"main"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want, forArch(got, "s390x")); d != "" {
		t.Error(d)
	}
	want[0].Suites = []string{"trixie"}
	if d := cmp.Diff([]Source{want[0], want[2]}, forArch(got, "riscv64")); d != "" || got[0].Suites[0] != "bookworm" {
		t.Error(d, got)
	}
}

func TestClosure(t *testing.T) {
	var solution []Package
	for _, s := range ParseStanzas(`Package: server
Version: 1
Pre-Depends: init-system-helpers (>= 1.54~)
Depends: libc6 (>= 2.36), adduser, libfoo1 | libfoo1-alt, virtual-ssl, tools (= 1)

Package: tools
Version: 1
Depends: libc6:any (>= 2), lsb-base [linux-any]

Package: libfoo1-alt
Version: 2

Package: libssl3
Version: 3
Provides: virtual-ssl (= 3), other

Package: libc6
Version: 2
Depends: libgcc-s1

Package: libgcc-s1
Version: 2
Depends: libc6

Package: adduser
Version: 3
Depends: only-adduser

Package: only-adduser
Version: 1

Package: init-system-helpers
Version: 1

Package: lsb-base
Version: 1
`) {
		solution = append(solution, fromStanza(s))
	}
	names := func(asked ...string) (out []string) {
		for _, p := range closure(asked, solution) {
			out = append(out, p.Name)
		}
		return out
	}
	if d := cmp.Diff([]string{"libc6", "libfoo1-alt", "libgcc-s1", "libssl3", "server", "tools"}, names("server")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"adduser", "libc6", "libgcc-s1", "only-adduser", "tools"}, names("tools", "adduser")); d != "" {
		t.Errorf("a package of the list was asked for: %s", d)
	}
}

func TestParseSolution(t *testing.T) {
	got := parseSolution("NOTE: simulation\nInst libc6 (2.36-9 Debian:12/stable [amd64])\nInst a:arm64 [1] (1:2~x Debian [arm64]) []\nConf a (2)\nInst broken\nInst x (\n")
	if d := cmp.Diff([]string{"libc6=2.36-9", "a=1:2~x"}, got); d != "" {
		t.Error(d)
	}
}

func TestApplets(t *testing.T) {
	got := applets([]byte("ELF\x00[\x00[[\x00acpid\x00ash\x00zcat\x00\x00\x01\x02"))
	if d := cmp.Diff([]string{"[", "[[", "acpid", "ash", "zcat"}, got); d != "" {
		t.Error(d)
	}
	if got := applets([]byte("no busybox")); got != nil {
		t.Errorf("got %v", got)
	}
}

// control returns stanzas as a control file; not ok if a field would be a comment.
func control(stanzas []Stanza) (file string, ok bool) {
	var text strings.Builder
	for _, s := range stanzas {
		for _, name := range slices.Sorted(maps.Keys(s)) {
			if strings.HasPrefix(name, "#") {
				return "", false
			}
			fmt.Fprintf(&text, "%s: %s\n", name, strings.ReplaceAll(s[name], "\n", "\n "))
		}
		text.WriteString("\n")
	}
	return text.String(), true
}

func FuzzParseStanzas(f *testing.F) {
	f.Add("Package: a\nDepends: b (>= 1) | c:any, d [amd64]\n x\n\n# c\nB")
	f.Fuzz(func(t *testing.T, text string) {
		stanzas := ParseStanzas(text)
		if file, ok := control(stanzas); ok && !cmp.Equal(ParseStanzas(file), stanzas) {
			t.Errorf("%q became %q", stanzas, ParseStanzas(file))
		}
		for _, s := range stanzas {
			p := fromStanza(s)
			if got := closure([]string{p.Name}, []Package{p}); len(got) != 1 || got[0].Name != p.Name {
				t.Errorf("the closure of %q is %v", p.Name, got)
			}
		}
		parseOneLine(text)
		parseDeb822(text)
		parseSolution(text)
	})
}
