package artifact

import (
	"slices"
	"strings"
	"testing"
)

func TestSplitSignatures(t *testing.T) {
	const a, b = "untrusted comment: a\nAAAA\ntrusted comment: a\nAAAA\n", "untrusted comment: b\nBBBB\ntrusted comment: b\nBBBB\n"
	long := "untrusted comment: " + strings.Repeat("x", MaxSignatureSize) + "\nAAAA\ntrusted comment: a\nAAAA\n"
	for _, tt := range []struct {
		value string
		want  []string
	}{
		{"", nil},
		{"one\ntwo\nthree", nil},
		{a, []string{a}},
		{strings.TrimSuffix(a, "\n"), []string{strings.TrimSuffix(a, "\n")}},
		{a + b, []string{a, b}},
		{a + "rest\n", []string{a}},
		{long + b, []string{b}},
	} {
		if got := SplitSignatures(tt.value); !slices.Equal(got, tt.want) {
			t.Errorf("SplitSignatures(%q) = %q, want %q", tt.value, got, tt.want)
		}
	}
	if n := len(SplitSignatures(strings.Repeat(a, MaxSignatures+3))); n != MaxSignatures {
		t.Errorf("%d signatures are read, want at most %d", n, MaxSignatures)
	}
}

func FuzzSplitSignatures(f *testing.F) {
	f.Add("untrusted comment: a\nAAAA\ntrusted comment: a\nAAAA\n")
	f.Add("\n\n\n\n\n")
	f.Fuzz(func(t *testing.T, value string) {
		files := SplitSignatures(value)
		if len(files) > MaxSignatures {
			t.Errorf("%d signatures", len(files))
		}
		for _, file := range files {
			if len(file) > MaxSignatureSize || strings.Count(file, "\n") > 4 || !strings.Contains(value, file) {
				t.Errorf("%q of %q", file, value)
			}
		}
	})
}
