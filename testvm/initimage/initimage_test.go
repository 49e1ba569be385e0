package initimage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"keelson/testvm/image"
	"keelson/testvm/image/tree"
)

const ref = "registry.example.org/keelson/init:v1"

// mountPoints are empty folders that the image must have.
var mountPoints = []string{"dev", "proc", "run", "sys", "tmp", "var"}

// guest makes a small tree whose programs contain the architecture.
func guest(t *testing.T, arch string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "some", arch)
	for _, d := range append([]string{"usr/bin", "sbin"}, mountPoints...) {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "init"), []byte("init "+arch), 0o755),
		os.WriteFile(filepath.Join(dir, "usr/bin/service"), []byte("service "+arch), 0o755),
		os.WriteFile(filepath.Join(dir, "usr/bin/readable"), nil, 0o640),
		os.Chmod(filepath.Join(dir, "tmp"), os.ModeSticky|0o777),
		os.Symlink("../usr/bin/service", filepath.Join(dir, "sbin/poweroff")))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func archive(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	err := Write(&buf, Options{Name: ref, Trees: map[string]string{"arm64": guest(t, "arm64"), "amd64": guest(t, "amd64")}})
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestSameTreesSameBytes(t *testing.T) {
	first := archive(t)
	time.Sleep(1100 * time.Millisecond) // times in archives have whole seconds
	if !bytes.Equal(first, archive(t)) {
		t.Error("two builds differ")
	}
}

// unpacked returns a folder with the layout in an archive.
func unpacked(t *testing.T, data []byte) string {
	t.Helper()
	files, dir := tree.New(), t.TempDir()
	if err := errors.Join(files.ReadTar(bytes.NewReader(data)), files.WriteDir(dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Readers of OCI layouts can read the archive and find its contents.
func TestLayout(t *testing.T) {
	top, err := layout.ImageIndexFromPath(unpacked(t, archive(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(top); err != nil {
		t.Error(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		images, err := partial.FindImages(index(t, top), match.Platforms(v1.Platform{OS: "linux", Architecture: arch}))
		if err != nil || len(images) != 1 {
			t.Fatalf("%d images for %s, %v", len(images), arch, err)
		}
		checkConfig(t, images[0], arch)
		checkFiles(t, images[0], arch)
	}
}

// index returns the only index of the layout.
func index(t *testing.T, top v1.ImageIndex) v1.ImageIndex {
	t.Helper()
	m, err := top.IndexManifest()
	if err != nil || len(m.Manifests) != 1 || m.Manifests[0].MediaType != types.OCIImageIndex {
		t.Fatalf("index.json is not one index: %+v, %v", m, err)
	}
	below, err := top.ImageIndex(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return below
}

func checkConfig(t *testing.T, img v1.Image, arch string) {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c.OS != "linux" || c.Architecture != arch || c.Config.Labels["org.opencontainers.image.version"] != "v1" {
		t.Errorf("configuration: %+v", c)
	}
	if len(c.Config.Entrypoint)+len(c.Config.Cmd) != 0 {
		t.Errorf("the image has a command: %+v", c.Config)
	}
}

func checkFiles(t *testing.T, img v1.Image, arch string) {
	t.Helper()
	r := mutate.Extract(img)
	defer r.Close()
	files := tree.New()
	if err := files.ReadTar(r); err != nil {
		t.Fatal(err)
	}
	want := []tree.Entry{
		{Path: "init", Type: tree.File, Mode: 0o755, Data: []byte("init " + arch)},
		{Path: "sbin", Type: tree.Dir, Mode: 0o755},
		{Path: "sbin/poweroff", Type: tree.Symlink, Mode: 0o777, Link: "../usr/bin/service"},
		{Path: "usr", Type: tree.Dir, Mode: 0o755},
		{Path: "usr/bin", Type: tree.Dir, Mode: 0o755},
		{Path: "usr/bin/readable", Type: tree.File, Mode: 0o640},
		{Path: "usr/bin/service", Type: tree.File, Mode: 0o755, Data: []byte("service " + arch)},
	}
	for _, d := range mountPoints {
		e := tree.Entry{Path: d, Type: tree.Dir, Mode: 0o755}
		if d == "tmp" {
			e.Mode = 0o1777
		}
		want = append(want, e)
	}
	want = append(want, image.Nodes()...)
	if files.Len() != len(want) {
		t.Errorf("%d files, want %d", files.Len(), len(want))
	}
	for _, w := range want {
		got, ok := files.Get(w.Path)
		if !ok || got.Type != w.Type || got.Mode != w.Mode || got.Link != w.Link || !bytes.Equal(got.Data, w.Data) || got.UID+got.GID != 0 || got.Major != w.Major || got.Minor != w.Minor {
			t.Errorf("%s is %+v, want %+v", w.Path, got, w)
		}
	}
}

func TestRefused(t *testing.T) {
	good, empty := guest(t, "amd64"), t.TempDir()
	whiteout := guest(t, "amd64")
	if err := os.WriteFile(filepath.Join(whiteout, "usr/.wh.bin"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	plain := guest(t, "amd64")
	if err := os.Chmod(filepath.Join(plain, "init"), 0o644); err != nil {
		t.Fatal(err)
	}
	for what, o := range map[string]Options{
		"no registry":          {Name: "keelson:v1", Trees: map[string]string{"amd64": good}},
		"no tag":               {Name: "example.org/keelson", Trees: map[string]string{"amd64": good}},
		"no name":              {Trees: map[string]string{"amd64": good}},
		"no tree":              {Name: ref},
		"missing folder":       {Name: ref, Trees: map[string]string{"amd64": filepath.Join(empty, "none")}},
		"empty folder":         {Name: ref, Trees: map[string]string{"amd64": empty}},
		"init not a program":   {Name: ref, Trees: map[string]string{"amd64": plain}},
		"name of a whiteout":   {Name: ref, Trees: map[string]string{"amd64": whiteout}},
		"unknown architecture": {Name: ref, Trees: map[string]string{"amd64": good, "riscv64": good}},
	} {
		var buf bytes.Buffer
		if err := Write(&buf, o); err == nil || buf.Len() != 0 {
			t.Errorf("%s: wrote %d bytes, error %v", what, buf.Len(), err)
		}
	}
}

// The trees are packed in the order of their names, not in the order of the map.
func TestOrder(t *testing.T) {
	top, err := layout.ImageIndexFromPath(unpacked(t, archive(t)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := index(t, top).IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range m.Manifests {
		got = append(got, d.Platform.String())
	}
	if !slices.Equal(got, []string{"linux/amd64", "linux/arm64"}) {
		t.Errorf("got %v", got)
	}
}
