package source

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"keelson/testvm/image/ocilayout"
	"keelson/testvm/image/progress"
)

// testImage has two layers; the second removes a file of the first.
func testImage(t *testing.T, arch, program string) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image,
		layer(t, map[string]string{"app": program, "etc/gone": "x"}),
		layer(t, map[string]string{"etc/.wh.gone": "", "etc/new": "y"}))
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, mustConfig(t, img, arch))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func mustConfig(t *testing.T, img v1.Image, arch string) *v1.ConfigFile {
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cf = cf.DeepCopy()
	cf.Architecture, cf.OS = arch, "linux"
	cf.Config.Cmd = []string{"/app"}
	return cf
}

func layer(t *testing.T, files map[string]string) v1.Layer {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for n, data := range files {
		tw.WriteHeader(&tar.Header{Name: n, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(data))})
		tw.Write([]byte(data))
	}
	tw.Close()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func fetcher(t *testing.T) *Fetcher {
	return &Fetcher{Arch: "amd64", Base: t.TempDir(), CacheDir: t.TempDir(), Progress: progress.Discard}
}

func checkImage(t *testing.T, img *Image, err error, program string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := img.Files.Get("app"); string(e.Data) != program {
		t.Errorf("app is %q, want %q", e.Data, program)
	}
	if _, ok := img.Files.Get("etc/gone"); ok {
		t.Error("a file that the second layer removes is there")
	}
	if len(img.Config.Cmd) != 1 {
		t.Errorf("configuration: %+v", img.Config)
	}
}

func TestLayout(t *testing.T) {
	f := fetcher(t)
	p, err := layout.Write(filepath.Join(f.Base, "lay"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		err := p.AppendImage(testImage(t, arch, arch), layout.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}),
			layout.WithAnnotations(map[string]string{ocilayout.RefAnnotation: "v1"}))
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, ref := range []string{"oci:lay", "oci:lay:v1"} {
		img, err := f.Image(t.Context(), ref)
		checkImage(t, img, err, "amd64")
	}
	f.Arch, f.known = "arm64", nil
	img, err := f.Image(t.Context(), "oci:lay")
	checkImage(t, img, err, "arm64")
	if _, err := f.Image(t.Context(), "oci:lay:v2"); err == nil || !strings.Contains(err.Error(), "v1 (linux/amd64)") {
		t.Errorf("got %v, want what is there", err)
	}
}

func TestLayoutDamaged(t *testing.T) {
	f := fetcher(t)
	dir := filepath.Join(f.Base, "lay")
	p, _ := layout.Write(dir, empty.Index)
	img := testImage(t, "amd64", "x")
	if err := p.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	damage(t, dir, img)
	if _, err := f.Image(t.Context(), "oci:lay"); err == nil || !strings.Contains(err.Error(), "digest") {
		t.Errorf("a damaged layer: got %v", err)
	}
}

// damage changes a byte of the first layer in a layout.
func damage(t *testing.T, dir string, img v1.Image) {
	t.Helper()
	layers, _ := img.Layers()
	h, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "blobs", h.Algorithm, h.Hex)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDockerArchive(t *testing.T) {
	f := fetcher(t)
	tag, _ := name.NewTag("example.org/app:v1")
	if err := tarball.WriteToFile(filepath.Join(f.Base, "a.tar"), tag, testImage(t, "amd64", "x")); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"docker-archive:a.tar", "docker-archive:a.tar:example.org/app:v1"} {
		img, err := f.Image(t.Context(), ref)
		checkImage(t, img, err, "x")
	}
	f.Arch, f.known = "arm64", nil
	if _, err := f.Image(t.Context(), "docker-archive:a.tar"); err == nil || !strings.Contains(err.Error(), "for amd64, not arm64") {
		t.Errorf("got %v", err)
	}
}

func TestRegistry(t *testing.T) {
	var requests atomic.Int32
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handler.ServeHTTP(w, r)
	}))
	ref := strings.TrimPrefix(srv.URL, "http://") + "/example/app:v1"
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	pushed := testImage(t, "amd64", "one")
	if err := remote.Write(tag, pushed); err != nil {
		t.Fatal(err)
	}
	f := fetcher(t)
	again := func() *Fetcher { return &Fetcher{Arch: "amd64", CacheDir: f.CacheDir, Progress: progress.Discard} }
	img, err := f.Image(t.Context(), ref)
	checkImage(t, img, err, "one")

	before := requests.Load()
	img, err = again().Image(t.Context(), ref)
	checkImage(t, img, err, "one")
	if requests.Load() != before {
		t.Error("the registry was asked for what is in the cache")
	}

	damage(t, filepath.Join(f.CacheDir, "oci/amd64"), pushed)
	img, err = again().Image(t.Context(), ref)
	checkImage(t, img, err, "one")
	if requests.Load() == before {
		t.Error("a damaged layer was not fetched again")
	}

	if err := remote.Write(tag, testImage(t, "amd64", "two")); err != nil {
		t.Fatal(err)
	}
	img, err = again().Image(t.Context(), ref)
	checkImage(t, img, err, "one")
	fresh := again()
	fresh.Refresh = true
	img, err = fresh.Image(t.Context(), ref)
	checkImage(t, img, err, "two")

	srv.Close()
	offline := again()
	offline.Refresh = true
	img, err = offline.Image(t.Context(), ref)
	checkImage(t, img, err, "two")
	if _, err := again().Image(t.Context(), ref+".other"); err == nil || !strings.Contains(err.Error(), f.CacheDir) {
		t.Errorf("got %v, want where it was looked for", err)
	}
}

func TestDir(t *testing.T) {
	f := fetcher(t)
	os.MkdirAll(filepath.Join(f.Base, "d/etc"), 0o755)
	if img, err := f.Image(t.Context(), "dir:d"); err != nil || img.Files.Len() != 1 {
		t.Errorf("got %+v, %v", img, err)
	}
}

func TestMissing(t *testing.T) {
	f := fetcher(t)
	os.Mkdir(filepath.Join(f.Base, "empty"), 0o755)
	for ref, want := range map[string]string{
		"dir:nowhere":              filepath.Join(f.Base, "nowhere"),
		"dir:empty":                "empty",
		"oci:nowhere":              filepath.Join(f.Base, "nowhere/index.json"),
		"docker-archive:n.tar":     filepath.Join(f.Base, "n.tar"),
		"docker-archive:n.tar:a:b": filepath.Join(f.Base, "n.tar"),
		"deb:":                     "name of a package",
		"deb:a,--b":                "name of a package",
		"file:x":                   "only a kernel",
		"./x":                      "only a kernel",
		"Bad Ref":                  "Bad Ref",
	} {
		if _, err := f.Image(t.Context(), ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s in it", ref, err, want)
		}
	}
}
