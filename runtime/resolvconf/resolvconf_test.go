package resolvconf

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string][2]string{
		"":                             {},
		"nameserver":                   {},
		"# nameserver 192.0.2.1\n":     {},
		"nameserver 192.0.2.1":         {"192.0.2.1"},
		"\tnameserver  fe80::1%eth0 x": {"fe80::1%eth0"},
		"nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch a b\noptions edns0\n": {"192.0.2.1 192.0.2.2", "a b"},
		"search a b\ndomain c d\n": {"", "c"},
		"domain c\nsearch a b\n":   {"", "a b"},
	} {
		servers, search := Parse(text)
		if got := [2]string{strings.Join(servers, " "), strings.Join(search, " ")}; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nsearch a b\ndomain c\n")
	f.Fuzz(func(t *testing.T, text string) {
		servers, search := Parse(text)
		for _, word := range slices.Concat(servers, search) {
			if word == "" || strings.ContainsAny(word, " \n\t") {
				t.Errorf("%q: %q", text, word)
			}
		}
	})
}
