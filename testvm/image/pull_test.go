package image

import (
	"bytes"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"keelson/runtime/artifact"
	"keelson/testvm/image/format"
	"keelson/testvm/image/ocilayout"
	"keelson/testvm/image/progress"
)

// registryServer is a registry on the loopback address that can damage what it serves.
func registryServer(t *testing.T, damage func(path string, body []byte)) (repository string) {
	t.Helper()
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if damage == nil || r.Method != http.MethodGet {
			store.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		store.ServeHTTP(rec, r)
		damage(r.URL.Path, rec.Body.Bytes())
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://") + "/example/web"
}

func tag(t *testing.T, ref string) name.Tag {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

// filesIn returns all files of a folder, by their path in it.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files[strings.TrimPrefix(file, dir+"/")] = string(read(t, file))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What is pushed from an artifact's layout to a registry, and pulled, is the same layout.
func TestPullArtifact(t *testing.T) {
	repository, dir := registryServer(t, nil), t.TempDir()
	o := artifactOptions(t, dir)
	written := filepath.Join(dir, "written")
	archs := []string{format.AMD64, format.ARM64}
	made, err := WriteArtifact(t.Context(), o, Artifact{Service: "writable", Archs: archs}, Target{Name: written})
	if err != nil {
		t.Fatal(err)
	}
	entries, index := layoutAt(t, written)
	index = withAnnotation(t, index, artifact.SignatureKey, "signed") // as keelson sign adds it to index.json
	// crane push --index, and crane push of one manifest.
	if err := remote.WriteIndex(tag(t, repository+":both"), index); err != nil {
		t.Fatal(err)
	}
	one, err := index.Image(entries[1].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag(t, repository+":one"), one); err != nil {
		t.Fatal(err)
	}
	pulled := filepath.Join(dir, "pulled")
	got, err := Pull(t.Context(), repository+":both", archs, Target{Name: pulled}, progress.Discard)
	if err != nil || !slices.Equal(got, made) {
		t.Fatalf("pulled %v, %v, want %v", got, err, made)
	}
	want, have := filesIn(t, written), filesIn(t, pulled)
	delete(want, "index.json")
	delete(have, "index.json")
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
	for i := range entries {
		entries[i].Annotations[artifact.SignatureKey] = "signed"
	}
	if got, _ := layoutAt(t, pulled); !cmp.Equal(got, entries) {
		t.Errorf("index.json lists %+v, want %+v", got, entries)
	}
	single := filepath.Join(dir, "single")
	got, err = Pull(t.Context(), repository+":one", nil, Target{Name: single}, progress.Discard)
	if err != nil || !slices.Equal(got, made[1:]) {
		t.Fatalf("pulled %v, %v, want %v", got, err, made[1:])
	}
	alone := entries[1:] // The platform comes from the manifest.
	alone[0].Annotations = map[string]string{ocilayout.RefAnnotation: "one"}
	entries, index = layoutAt(t, single)
	if d := cmp.Diff(alone, entries); d != "" {
		t.Error(d)
	}
	if a := artifactOf(t, index, entries[0]); a.manifest.Annotations[artifact.Architecture] != format.ARM64 {
		t.Errorf("annotations: %v", a.manifest.Annotations)
	}
}

// withAnnotation adds an annotation to all entries of an index.
func withAnnotation(t *testing.T, index v1.ImageIndex, key, value string) v1.ImageIndex {
	t.Helper()
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var out v1.ImageIndex = empty.Index
	for _, d := range m.Manifests {
		img, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		d.Annotations = maps.Clone(d.Annotations)
		d.Annotations[key] = value
		out = mutate.AppendManifests(out, mutate.IndexAddendum{Add: img, Descriptor: d})
	}
	return out
}

// imagesFor returns an index of random images.
func imagesFor(t *testing.T, archs ...string) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, arch := range archs {
		img, err := random.Image(2000, 2)
		if err != nil {
			t.Fatal(err)
		}
		c, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		c = c.DeepCopy()
		c.OS, c.Architecture = "linux", arch
		if img, err = mutate.ConfigFile(img, c); err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: c.Platform()}})
	}
	return index
}

// Of a container image for several architectures, the layout has those asked for, or the
// index as it is; digests do not change.
func TestPullImage(t *testing.T) {
	repository := registryServer(t, nil)
	others := slices.DeleteFunc([]string{format.AMD64, format.ARM64, format.RISCV}, func(arch string) bool { return arch == runtime.GOARCH })
	archs := append([]string{runtime.GOARCH}, others...)
	index := imagesFor(t, archs...)
	if err := remote.WriteIndex(tag(t, repository+":v1"), index); err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		archs, tags []string
		digests     []v1.Hash
		files       int // with the two that are no blobs
	}{
		{nil, []string{"v1"}, []v1.Hash{m.Manifests[0].Digest}, 2 + 4},
		{archs[1:2], []string{"v1"}, []v1.Hash{m.Manifests[1].Digest}, 2 + 4},
		{[]string{archs[1], archs[0], archs[1]}, []string{archs[1], archs[0]}, []v1.Hash{m.Manifests[1].Digest, m.Manifests[0].Digest}, 2 + 8},
		{[]string{AllArchs}, []string{"v1"}, []v1.Hash{whole}, 2 + 1 + 3*4},
	} {
		out := filepath.Join(t.TempDir(), "layout")
		made, err := Pull(t.Context(), repository+":v1", tt.archs, Target{Name: out}, progress.Discard)
		if err != nil {
			t.Fatalf("%v: %v", tt.archs, err)
		}
		entries, _ := layoutAt(t, out)
		for i, d := range entries {
			if d.Digest != tt.digests[i] || made[i].Digest != d.Digest.String() || d.Annotations[ocilayout.RefAnnotation] != tt.tags[i] {
				t.Errorf("%v: entry %d is %+v", tt.archs, i, d)
			}
			if isImage := d.MediaType.IsImage(); isImage != (d.Platform != nil) || d.ArtifactType != "" {
				t.Errorf("%v: entry %d is %+v", tt.archs, i, d)
			}
		}
		if files := filesIn(t, out); len(entries) != len(tt.digests) || len(files) != tt.files {
			t.Errorf("%v: %d entries, %d files", tt.archs, len(entries), len(files))
		}
	}
}

func TestPullErrors(t *testing.T) {
	repository := registryServer(t, func(path string, body []byte) {
		if strings.Contains(path, "/damaged/blobs/") {
			copy(body, bytes.Repeat([]byte("x"), 10))
		}
	})
	img, err := imageFor(imagesFor(t, format.ARM64))
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{repository + ":v1", repository + "/damaged:v1"} {
		if err := remote.Write(tag(t, ref), img); err != nil {
			t.Fatal(err)
		}
	}
	if err := remote.WriteIndex(tag(t, repository+":index"), imagesFor(t, format.AMD64, format.ARM64)); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	for _, tt := range []struct{ ref, arch, want string }{
		{"oci:" + out, "", "it is not in a registry"},
		{"Web:v1", "", "could not parse reference"},
		{repository + ":v2", "", "MANIFEST_UNKNOWN"},
		{repository + ":v1", format.AMD64, "there is no image for linux/amd64: only for linux/arm64"},
		{repository + ":index", format.S390X, "there is no image for linux/s390x: only for linux/amd64, linux/arm64"},
		{repository + "/damaged:v1", format.ARM64, "error verifying sha256 checksum"},
	} {
		var archs []string
		if tt.arch != "" {
			archs = []string{tt.arch}
		}
		for _, file := range []string{"layout", "layout.tar"} {
			_, err := Pull(t.Context(), tt.ref, archs, Target{Name: filepath.Join(out, file)}, progress.Discard)
			if err == nil || !strings.HasPrefix(err.Error(), "cannot pull "+tt.ref) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s to %s: got %v, want %s", tt.ref, file, err, tt.want)
			}
		}
	}
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		t.Errorf("in the folder are %v, %v", left, err)
	}
}

// imageFor returns the only image of an index.
func imageFor(index v1.ImageIndex) (v1.Image, error) {
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	return index.Image(m.Manifests[0].Digest)
}
