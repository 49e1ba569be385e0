package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/testvm/image/config"
)

// put writes a file and the folders above it.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// Several YAML files in different folders make one image; each refers to files in its folder.
func TestSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/lib/root/from-lib", "lib")
	put(t, dir+"/lib/note", "note of lib")
	put(t, dir+"/own/root/from-own", "own")
	put(t, dir+"/own/note", "note of own")
	o := Options{
		Before: []YAMLFile{{dir + "/lib/base.yml", []byte("init: [\"dir:root\"]\nfiles:\n- {path: lib, source: note}\n- {path: both.yml, metadata: yaml}\n- {path: both.json, metadata: json}\n")}},
		YAML:   []byte("init: [\"dir:root\"]\nfiles: [{path: own, source: note}]\n"), File: dir + "/own/site.yml",
		OutDir: t.TempDir(), CacheDir: t.TempDir(), Formats: []string{"tar"},
	}
	out, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Files) != 1 || filepath.Base(out.Files[0]) != "site.tar" {
		t.Errorf("wrote %q", out.Files)
	}
	archive, err := os.ReadFile(out.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"from-lib", "from-own", "note of lib", "note of own", "- dir:../lib/root\n- dir:root\n", `"source": "../lib/note"`} {
		if !strings.Contains(string(archive), want) {
			t.Errorf("the image does not have %q", want)
		}
	}
	o.Before[0].Data = []byte("init:\n- \"dir:nowhere\"\n")
	var e *config.Error
	if _, err := Build(t.Context(), o); !errors.As(err, &e) || e.File != dir+"/lib/base.yml" || e.Line != 2 || !strings.Contains(err.Error(), dir+"/lib/nowhere") {
		t.Errorf("got %v", err)
	}
}

// An image that is built from standard input has the name that the linuxkit program gives it.
func TestStdinName(t *testing.T) {
	o := Options{File: Stdin, CacheDir: t.TempDir()}
	if err := o.complete(); err != nil || o.Name != "moby" {
		t.Errorf("name %q, %v", o.Name, err)
	}
}
