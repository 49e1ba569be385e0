package security

import (
	"slices"
	"strings"
	"testing"
)

// Reports can be printed, whatever the author of a bundle wrote into it.
func TestPrint(t *testing.T) {
	s := isolated()
	bind("/etc/\x1b[2J" + strings.Repeat("x", 500))(s)
	s.Linux.Namespaces[0].Path = "/a\nb"
	reports := []Report{Assess(bundleOf(s)), Assess(bundleOf(isolated()))}
	var table, all strings.Builder
	if err := PrintTable(&table, reports); err != nil {
		t.Fatal(err)
	}
	if err := reports[0].Print(&all); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{table.String(), all.String()} {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' }) {
			t.Errorf("%q", text)
		}
	}
	lines := strings.Split(strings.TrimSpace(table.String()), "\n")
	if len(lines) != 3 || !slices.Equal(strings.Fields(lines[2]), []string{"web", "0.0", "isolated", "0", "-"}) {
		t.Errorf("%q", lines)
	}
	for _, f := range reports[0].Findings {
		if !strings.Contains(all.String(), f.Why) || !strings.Contains(all.String(), f.Advice) {
			t.Errorf("%s is missing in\n%s", f, all.String())
		}
	}
}
