package source

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"keelson/testvm/image/ocilayout"
	"keelson/testvm/image/progress"
	"keelson/testvm/image/tree"
)

// twoArchs is an index of the test image for both architectures.
func twoArchs(t *testing.T) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: testImage(t, arch, arch),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return index
}

// checkLayout checks that the layout has one entry, the index, with only the images of archs.
func checkLayout(t *testing.T, files *tree.Tree, err error, index v1.ImageIndex, archs ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := files.WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	want, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	got, err := top.ImageIndex(want)
	if err != nil {
		t.Fatalf("the index is not in the layout: %v", err)
	}
	m, err := got.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		img, err := got.Image(d.Digest)
		if err == nil {
			err = verify(img)
		}
		if wanted := strings.Contains(strings.Join(archs, " "), d.Platform.Architecture); wanted != (err == nil) {
			t.Errorf("image for %s: %v", d.Platform, err)
		}
	}
}

func TestLayoutAsItIs(t *testing.T) {
	f, index := fetcher(t), twoArchs(t)
	p, err := layout.Write(filepath.Join(f.Base, "lay"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	const ref = "registry.example.org/app:v1"
	if err := p.AppendIndex(index, layout.WithAnnotations(map[string]string{ocilayout.RefAnnotation: ref})); err != nil {
		t.Fatal(err)
	}
	files, err := f.Layout(t.Context(), "oci:lay", nil)
	checkLayout(t, files, err, index, "amd64")
	files, err = f.Layout(t.Context(), "oci:lay:"+ref, []string{"linux/arm64", "linux/amd64"})
	checkLayout(t, files, err, index, "amd64", "arm64")
	if e, _ := files.Get("index.json"); !bytes.Contains(e.Data, []byte(ref)) {
		t.Errorf("the name is lost: %s", e.Data)
	}
	for _, platforms := range [][]string{{"linux/riscv64"}, {"linux/amd64", "linux/riscv64"}} {
		if _, err := f.Layout(t.Context(), "oci:lay", platforms); err == nil {
			t.Errorf("%v: no error", platforms)
		}
	}
	for _, ref := range []string{"oci:nowhere", "oci:lay:v2", "dir:lay", "deb:x", "docker-archive:x"} {
		if _, err := f.Layout(t.Context(), ref, nil); err == nil {
			t.Errorf("%s: no error", ref)
		}
	}
}

// A layout may list several images without an index, as some tools write them.
func TestLayoutOfImages(t *testing.T) {
	f := fetcher(t)
	p, err := layout.Write(filepath.Join(f.Base, "lay"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(testImage(t, "amd64", "one")); err != nil {
		t.Fatal(err)
	}
	files, err := f.Layout(t.Context(), "oci:lay", nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(files.Entries()); n != 2+2+4 { // folders, files, blobs
		t.Errorf("%d entries", n)
	}
	if _, err := f.Layout(t.Context(), "oci:lay", []string{"linux/arm64"}); err == nil {
		t.Error("an image of another platform is taken")
	}
	if err := p.AppendImage(testImage(t, "arm64", "two")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Layout(t.Context(), "oci:lay", nil); err == nil {
		t.Error("two images of no known platform are taken")
	}
}

func TestLayoutDamagedAsItIs(t *testing.T) {
	f, img := fetcher(t), testImage(t, "amd64", "x")
	dir := filepath.Join(f.Base, "lay")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	damage(t, dir, img)
	if _, err := f.Layout(t.Context(), "oci:lay", nil); err == nil {
		t.Error("a damaged layer is taken")
	}
}

func TestLayoutFromRegistry(t *testing.T) {
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ref, index := strings.TrimPrefix(srv.URL, "http://")+"/example/app:v1", twoArchs(t)
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	f := fetcher(t)
	files, err := f.Layout(t.Context(), ref, []string{"linux/arm64"})
	checkLayout(t, files, err, index, "arm64")
	srv.Close()
	for _, refresh := range []bool{false, true} {
		offline := &Fetcher{Arch: "amd64", CacheDir: f.CacheDir, Progress: progress.Discard, Refresh: refresh}
		files, err = offline.Layout(t.Context(), ref, []string{"linux/arm64"})
		checkLayout(t, files, err, index, "arm64")
		if _, err := offline.Layout(t.Context(), ref, nil); err == nil || !strings.Contains(err.Error(), f.CacheDir) {
			t.Errorf("got %v, want where it was looked for", err)
		}
	}
}
