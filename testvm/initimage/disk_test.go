package initimage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"keelson/testvm/image/config"
	"keelson/testvm/image/tree"
)

// The image of disk has the program over the packages of its architecture, under the names of LinuxKit's
// packages too, and settings that the builder understands.
func TestDisk(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755), os.WriteFile(filepath.Join(dir, "usr/bin/disk"), []byte("disk"), 0o755)); err != nil {
		t.Fatal(err)
	}
	var asked []string
	extra := "usr/sbin/mke2fs"
	o := Options{Name: ref, Trees: map[string]string{"amd64": dir, "arm64": dir}, Kind: Disk, Debian: func(arch, packages string) (*tree.Tree, error) {
		asked = append(asked, arch+" "+packages)
		files := tree.New()
		return files, errors.Join(files.Put(tree.Entry{Path: "usr/bin/disk", Type: tree.File, Mode: 0o644, Data: []byte("another")}),
			files.Put(tree.Entry{Path: extra, Type: tree.File, Mode: 0o755, Data: []byte(arch)}))
	}}
	var archive bytes.Buffer
	if err := Write(&archive, o); err != nil {
		t.Fatal(err)
	}
	if want := []string{"amd64 " + Disk.Packages, "arm64 " + Disk.Packages}; !slices.Equal(asked, want) {
		t.Errorf("packages %q", asked)
	}
	top, err := layout.ImageIndexFromPath(unpacked(t, archive.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	images, err := partial.FindImages(index(t, top), match.Platforms(v1.Platform{OS: "linux", Architecture: "arm64"}))
	if err != nil || len(images) != 1 {
		t.Fatalf("%d images, %v", len(images), err)
	}
	files := tree.New()
	if err := files.ReadTar(mutate.Extract(images[0])); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"usr/bin/disk": "disk", "usr/sbin/mke2fs": "arm64"} {
		if e, _ := files.Get(path); string(e.Data) != want || e.Mode != 0o755 {
			t.Errorf("%s: %q, mode %o", path, e.Data, e.Mode)
		}
	}
	for _, name := range []string{"usr/bin/format", "usr/bin/mountie", "usr/bin/extend", "usr/bin/crypto", "swap.sh"} {
		if to, err := files.Resolve(name); err != nil || to != "usr/bin/disk" {
			t.Errorf("%s leads to %q, %v", name, to, err)
		}
	}
	c, err := images[0].ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.ParseLabel(ref, c.Config.Labels["org.mobyproject.config"])
	if err != nil || len(got.Binds) != 3 || len(got.Devices) != 2 || got.RootfsPropagation == nil || *got.RootfsPropagation != "shared" {
		t.Errorf("%+v, %v", got, err)
	}
	extra = "usr/bin/format"
	if err := Write(&archive, o); err == nil || !strings.Contains(err.Error(), extra) {
		t.Errorf("with a file in place of a link: %v", err)
	}
	o.Debian = nil
	if err := Write(&archive, o); err == nil || !strings.Contains(err.Error(), "packages") {
		t.Errorf("without packages: %v", err)
	}
}
