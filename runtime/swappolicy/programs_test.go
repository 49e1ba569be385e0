package swappolicy

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestPrograms(t *testing.T) {
	public, sign := testKey()
	p := policy(t, `
keys: {release: `+publicKey+`, ops: `+public+`}
default: {allow: [swap, rollback], signed-by: [release]}
programs: {allow: [swap], signed-by: [ops]}
`)
	none, err := Load(filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		p          *Policy
		verb       Verb
		digest     string
		signatures []string
		want       string
	}{
		"signed":                 {p, Swap, digest, []string{"x", sign(digest)}, ""},
		"not signed":             {p, Swap, digest, nil, "has no signature"},
		"another digest":         {p, Swap, strings.Replace(digest, "e3", "e4", 1), []string{sign(digest)}, "a signature by ops"},
		"not allowed":            {p, Rollback, digest, []string{sign(digest)}, "allow: [swap, rollback]"},
		"back to the image":      {policy(t, "keys: {ops: "+public+"}\nprograms: {allow: [rollback], signed-by: [ops]}"), Rollback, "", nil, ""},
		"no file":                {none, Swap, digest, []string{sign(digest)}, "needs the entry programs"},
		"the default is not it":  {policy(t, "keys: {ops: "+public+"}\ndefault: {allow: [swap]}"), Swap, digest, []string{sign(digest)}, "needs the entry programs"},
		"nor is a service of it": {policy(t, "keys: {ops: "+public+"}\nservices: [{name: programs, allow: [swap]}]"), Swap, digest, []string{sign(digest)}, "needs the entry programs"},
	} {
		err := tc.p.CheckPrograms(tc.verb, tc.digest, tc.signatures)
		if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, ErrProgramsRefused) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestBadPrograms(t *testing.T) {
	for text, want := range map[string]string{
		"programs: {allow: [swap]}":                   "programs.signed-by: name at least one key",
		"programs: {allow: [swap], signed-by: []}":    "programs.signed-by: name at least one key",
		"programs: {allow: [remove], signed-by: [a]}": `programs.allow[0]: "remove" is not one of [swap rollback]`,
		"programs: {allow: [swap], signed-by: [a]}":   `programs.signed-by[0]: there is no key "a"`,
		"programs: {allow: [swap], gain: ['*']}":      "unknown key gain",
	} {
		if _, err := Parse("x", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
