package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"keelson/testvm/image"
)

// parse reads a command line as main does.
func parse(t *testing.T, args ...string) (buildCmd, error) {
	t.Helper()
	var c struct {
		Build buildCmd `cmd:""`
	}
	k, err := kong.New(&c, kong.Vars{"formats": ""})
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Parse(append([]string{"build"}, args...))
	return c.Build, err
}

func TestSeveralFiles(t *testing.T) {
	a := filepath.Join(t.TempDir(), "a.yml")
	if err := os.WriteFile(a, []byte("init: [\"alpine:3\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := parse(t, "--dry-run", a, "-", "-o", "out")
	if err != nil || len(c.File) != 2 || !c.DryRun {
		t.Fatalf("got %+v, %v", c, err)
	}
	files, err := readFiles(c.File, strings.NewReader("init: [b]\n"))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := printMerged(&out, image.Options{Before: files[:1], YAML: files[1].Data, File: files[1].Name}); err != nil || out.String() != "init:\n- alpine:3\n- b\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if _, err := parse(t, a, filepath.Join(t.TempDir(), "missing.yml")); err == nil {
		t.Error("a missing file is accepted")
	}
	if _, err := readFiles([]string{"-", a, "-"}, strings.NewReader("")); err == nil {
		t.Error("standard input is read twice")
	}
}

// A single file is printed unchanged; an error names the file.
func TestDryRun(t *testing.T) {
	const source = "# comment\ninit: [a]\n"
	var out strings.Builder
	if err := printMerged(&out, image.Options{YAML: []byte(source), File: "-"}); err != nil || out.String() != source {
		t.Errorf("got %q, %v", out.String(), err)
	}
	err := printMerged(&out, image.Options{YAML: []byte("inits: []\n"), File: "-"})
	if err == nil || !strings.HasPrefix(err.Error(), "standard input:1: inits: ") {
		t.Errorf("got %v", err)
	}
}
