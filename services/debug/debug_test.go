package debug

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"keelson/services/versions"
)

// Tools are those of the rescue shell, or of a bundle that exists.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	services, rescue := filepath.Join(dir, "services"), filepath.Join(dir, "rescue")
	store := versions.New(filepath.Join(dir, "versions"))
	if b, err := findIn("", services, rescue, store); b != nil || err == nil {
		t.Errorf("without bundles: %+v, %v", b, err)
	}
	write := func(path, more string) {
		config := `{"ociVersion":"1.2.0","root":{"path":"rootfs"},"process":{"cwd":"/","args":["own"]}` + more + `}`
		if err := errors.Join(os.MkdirAll(path, 0o755), os.WriteFile(filepath.Join(path, "config.json"), []byte(config), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(services, "web"), "")
	write(filepath.Join(rescue, "kit"), "")
	write(filepath.Join(services, "shell"), `,"annotations":{"keelson.role":"rescue"}`)
	for name, want := range map[string]string{"": "services/shell", "web": "services/web", "kit": "rescue/kit", "none": "", "..": "", "../services/web": "", "/": "", ".": ""} {
		b, err := findIn(name, services, rescue, store)
		if (b == nil) != (want == "") || b != nil && b.Dir != filepath.Join(dir, want) || (err == nil) != (want != "") {
			t.Errorf("%q: %+v, %v", name, b, err)
			continue
		}
		if b == nil {
			if !errors.Is(err, errNoBundle) {
				t.Errorf("%q: %v", name, err)
			}
			continue
		}
		program := program(nil, b)
		if own := want == "services/shell"; own && !slices.Equal(program, []string{"own"}) || want == "services/web" && !slices.Equal(program, []string{"sh"}) {
			t.Errorf("%q: %q", name, program)
		}
	}
}
