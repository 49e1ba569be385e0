package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/testvm/image/config"
)

func TestErrorsOfImages(t *testing.T) {
	const head = "services:\n  - name: a\n    image: dir:d\n"
	tests := []struct {
		name, yaml string
		line       int
		field      string
	}{
		{"missing image", "init:\n  - dir:d\n  - dir:nowhere\n", 3, "init[1]"},
		{"missing container", "onboot:\n  - name: a\n    image: oci:nowhere\n", 3, "onboot[0].image"},
		{"missing volume image", "volumes:\n  - name: a\n    image: dir:nowhere\n", 3, "volumes[0].image"},
		{"missing kernel", "kernel:\n  image: file:nowhere\n", 2, "kernel.image"},
		{"kernel image without kernel", "kernel:\n  image: dir:d\n", 2, "kernel.image"},
		{"modules of a file", "kernel:\n  image: file:x\n  modules: [a]\n", 3, "kernel.modules"},
		{"capability", head + "    capabilities:\n      - CAP_CHOWN\n      - CAP_FLY\n", 6, "services[0].capabilities[1]"},
		{"added capability", head + "    capabilities.add: [CAP_FLY]\n", 4, "services[0].capabilities.add"},
		{"added bind", head + "    cwd: /\n    binds.add: [nowhere]\n", 5, "services[0].binds.add"},
		{"volume", head + "    binds:\n      - data:/data\n", 5, "services[0].binds[0]"},
		{"user", head + "    uid: nobody\n", 4, "services[0].uid"},
		{"file over directory", "init: [dir:d]\nfiles:\n  - path: etc\n    contents: x\n", 3, "files[0].path"},
		{"file below file", "init: [dir:d]\nfiles:\n  - path: file/x\n    contents: x\n", 3, "files[0].path"},
		{"missing source", "files:\n  - path: x\n    source: nowhere\n", 2, "files[0]"},
	}
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "d"), 0o755), os.WriteFile(filepath.Join(dir, "d/file"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Build(t.Context(), Options{YAML: []byte(tt.yaml), File: filepath.Join(dir, "x.yml"), CacheDir: dir, OutDir: dir})
			var e *config.Error
			if !errors.As(err, &e) || e.Line != tt.line || e.Field != tt.field {
				t.Errorf("got %v, want line %d field %s", err, tt.line, tt.field)
			}
		})
	}
}

// A link of the image that leads to a hidden folder hides a file as well.
func TestHiddenThroughLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev", filepath.Join(dir, "devices")); err != nil {
		t.Fatal(err)
	}
	yaml := "init: [\"dir:" + dir + "\"]\nfiles:\n  - path: devices/x\n    contents: c\n"
	_, err := Build(t.Context(), Options{YAML: []byte(yaml), File: filepath.Join(dir, "x.yml"), OutDir: t.TempDir(), CacheDir: t.TempDir()})
	var e *config.Error
	if !errors.As(err, &e) || e.Line != 3 || e.Field != "files[0].path" {
		t.Errorf("got %v", err)
	}
}

func TestMissingToolsAreNamedFirst(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	b := &builder{Options: Options{Arch: "amd64", Data: &Data{Label: "data"}}, expand: expander("amd64", ""),
		doc: &config.Document{Config: config.Config{Kernel: config.Kernel{Image: "deb:linux-image-amd64"}}}}
	err := b.checkTools()
	for _, want := range []string{"apt-get: install Debian package apt", "dpkg-deb: install Debian package dpkg"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	b.doc.Config.Kernel.Image, b.Data = "file:x", nil
	if err := b.checkTools(); err != nil {
		t.Errorf("no package is asked for: %v", err)
	}
}
