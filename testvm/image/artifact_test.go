package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
	"keelson/testvm/image/format"
	"keelson/testvm/image/ocilayout"
	"keelson/testvm/image/ocispec"
	"keelson/testvm/image/tree"
)

const artifactYAML = `
init: ["dir:guest-amd64"]
onboot:
  - {name: once, image: "dir:guest-${ARCH}", command: [/usr/bin/app]}
services:
  - name: writable
    image: dir:guest-${ARCH}
    command: [/usr/bin/app]
    binds: ["/etc/resolv.conf:/etc/resolv.conf"]
    uid: readonly
    runtime: {mkdir: [/var/lib/writable]}
  - {name: readonly, image: "dir:guest-${ARCH}", command: [/usr/bin/app], readonly: true}
  - name: mapped
    image: dir:guest-${ARCH}
    command: [/usr/bin/app]
    userns: new
    net: new
    ipc: new
    uidMappings: [{hostID: 100000, containerID: 0, size: 65536}]
    gidMappings: [{hostID: 200000, containerID: 0, size: 65536}]
`

func artifactOptions(t *testing.T, dir string) Options {
	t.Helper()
	project(t, dir)
	arm := filepath.Join(dir, "guest-arm64/usr/bin/app")
	if err := errors.Join(os.MkdirAll(filepath.Dir(arm), 0o755), os.WriteFile(arm, []byte("arm"), 0o755)); err != nil {
		t.Fatal(err)
	}
	return Options{YAML: []byte(artifactYAML), File: filepath.Join(dir, "a.yml"), Arch: format.AMD64, CacheDir: filepath.Join(dir, "cache")}
}

// An artifact has the configuration and the files that an image has for that service.
func TestArtifactIsServiceOfImage(t *testing.T) {
	o := artifactOptions(t, t.TempDir())
	o.OutDir, o.Formats = t.TempDir(), []string{format.Tar}
	built, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	image := tree.New()
	if err := image.ReadTar(bytes.NewReader(read(t, built.File(".tar")))); err != nil {
		t.Fatal(err)
	}
	lower := below(image, "containers/onboot/000-once/lower") // of all but the service with mapped users
	for name, want := range map[string]map[string]tree.Entry{"writable": lower, "readonly": lower, "mapped": below(image, "containers/services/mapped/lower")} {
		out := filepath.Join(t.TempDir(), "layout")
		made, err := WriteArtifact(t.Context(), o, Artifact{Service: name}, Target{Name: out})
		if err != nil {
			t.Fatal(err)
		}
		entries, index := layoutAt(t, out)
		if len(entries) != 1 || len(made) != 1 || entries[0].Digest.String() != made[0].Digest || entries[0].ArtifactType != artifact.Type {
			t.Fatalf("%s: the layout has %+v, written was %+v", name, entries, made)
		}
		a := artifactOf(t, index, entries[0])
		dir := "containers/services/" + name + "/"
		if got := string(a.config); got != content(t, image, dir+"config.json") {
			t.Errorf("%s: config.json is %s", name, got)
		}
		runtime := runtimeOf(t, image, dir)
		runtime.Mounts = runtime.Mounts[len(ocispec.RootMounts("", "", name == "readonly")):]
		if d := cmp.Diff(runtime, a.runtime(t)); d != "" {
			t.Errorf("%s: runtime.json: %s", name, d)
		}
		checkAnnotations(t, a, name)
		if d := cmp.Diff(want, below(a.root(t), "root")); d != "" || len(want) < 5 {
			t.Errorf("%s: %d files: %s", name, len(want), d)
		}
	}
}

func checkAnnotations(t *testing.T, a unpacked, name string) {
	t.Helper()
	want := map[string]string{
		"org.opencontainers.image.title": name, "org.opencontainers.image.created": "1970-01-01T00:00:00Z",
		"keelson.architecture": "amd64", "keelson.root.writable": "true",
	}
	if name == "readonly" {
		delete(want, "keelson.root.writable")
	}
	if d := cmp.Diff(want, a.manifest.Annotations); d != "" {
		t.Errorf("%s: annotations: %s", name, d)
	}
}

// layoutAt returns the entries of the layout in a folder.
func layoutAt(t *testing.T, dir string) ([]v1.Descriptor, v1.ImageIndex) {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	return m.Manifests, index
}

// unpacked is an artifact whose blobs have been compared with their digests.
type unpacked struct {
	manifest *v1.Manifest
	config   []byte
	layers   [][]byte
}

func artifactOf(t *testing.T, index v1.ImageIndex, d v1.Descriptor) (a unpacked) {
	t.Helper()
	img, err := index.Image(d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if a.manifest, err = img.Manifest(); err != nil {
		t.Fatal(err)
	}
	err = ocilayout.EachBlob(img, func(kind string, want v1.Hash, r io.Reader) error {
		data, err := io.ReadAll(r)
		got, _, _ := v1.SHA256(bytes.NewReader(data))
		if got != want {
			t.Errorf("the %s has digest %s, not %s", kind, got, want)
		}
		switch kind {
		case "configuration":
			a.config = data
		case "layer":
			a.layers = append(a.layers, data)
		}
		return err
	})
	if err != nil || len(a.layers) != len(a.manifest.Layers) || len(a.layers) < 2 {
		t.Fatalf("%d layers: %v", len(a.layers), err)
	}
	m := a.manifest
	if m.ArtifactType != artifact.Type || m.MediaType != types.OCIManifestSchema1 || m.Config.MediaType != artifact.ConfigType || m.Layers[0].MediaType != artifact.RuntimeType {
		t.Errorf("types in the manifest: %+v", m)
	}
	return a
}

func (a unpacked) runtime(t *testing.T) (r bundle.Runtime) {
	t.Helper()
	if err := json.Unmarshal(a.layers[0], &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// root returns the files of the layer below "root".
func (a unpacked) root(t *testing.T) *tree.Tree {
	t.Helper()
	if a.manifest.Layers[1].MediaType != types.OCILayerZStd {
		t.Errorf("the layer is of type %s", a.manifest.Layers[1].MediaType)
	}
	z, err := zstd.NewReader(bytes.NewReader(a.layers[1]), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files, root := tree.New(), tree.New()
	if err := files.ReadTar(z); err != nil {
		t.Fatal(err)
	}
	putBelow(root, "root", files)
	return root
}

// The folder of the root belongs to the user that the container's user 0 is mapped to.
func TestArtifactOwnerOfRoot(t *testing.T) {
	o := artifactOptions(t, t.TempDir())
	for name, want := range map[string]string{"mapped": "./ 100000:200000", "readonly": ""} {
		out := filepath.Join(t.TempDir(), "layout")
		if _, err := WriteArtifact(t.Context(), o, Artifact{Service: name}, Target{Name: out}); err != nil {
			t.Fatal(err)
		}
		entries, index := layoutAt(t, out)
		z, err := zstd.NewReader(bytes.NewReader(artifactOf(t, index, entries[0]).layers[1]))
		if err != nil {
			t.Fatal(err)
		}
		first, err := tar.NewReader(z).Next()
		z.Close()
		if err != nil {
			t.Fatal(err)
		}
		top := want != ""
		if (first.Name == "./") != top || top && (first.Uid != 100000 || first.Gid != 200000 || first.Mode != 0o755) {
			t.Errorf("%s: the first entry is %+v", name, first)
		}
	}
}

// An archive lists its files so that a reader can decide what it needs as it reads, and
// has the same bytes wherever and whenever it is made.
func TestArtifactArchive(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	a := Artifact{Service: "services/writable", Archs: []string{format.ARM64, format.AMD64}}
	archive := func(dir, name string) []byte {
		o := artifactOptions(t, dir)
		o.ModTime = time.Unix(1e9, 0)
		if _, err := WriteArtifact(t.Context(), o, a, Target{Name: filepath.Join(dir, name)}); err != nil {
			t.Fatal(err)
		}
		return read(t, filepath.Join(dir, name))
	}
	plain := archive(first, "a.tar")
	if !bytes.Equal(plain, archive(second, "other.tar")) {
		t.Error("the archives differ")
	}
	z, err := zstd.NewReader(bytes.NewReader(archive(first, "a.tar.zst")))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	g, err := gzip.NewReader(bytes.NewReader(archive(second, "a.tar.gz")))
	if err != nil {
		t.Fatal(err)
	}
	for suffix, r := range map[string]io.Reader{".tar.zst": z, ".tar.gz": g} {
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v", suffix, len(got), err)
		}
	}
	var piped bytes.Buffer
	o := artifactOptions(t, t.TempDir())
	o.ModTime = time.Unix(1e9, 0)
	if _, err := WriteArtifact(t.Context(), o, a, Target{Writer: &piped}); err != nil || !bytes.Equal(piped.Bytes(), plain) {
		t.Errorf("standard output: %d bytes, %v", piped.Len(), err)
	}
	checkOrder(t, plain)
}

func checkOrder(t *testing.T, archive []byte) {
	t.Helper()
	var names []string
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || !h.ModTime.Equal(time.Unix(1e9, 0)) {
			t.Errorf("%+v", h)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names, files[h.Name] = append(names, h.Name), data
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(files["index.json"], &index); err != nil || len(index.Manifests) != 2 {
		t.Fatalf("index.json is %s, %v", files["index.json"], err)
	}
	want := []string{"oci-layout", "index.json"}
	var configs, layers []string
	for i, d := range index.Manifests {
		arch := []string{format.ARM64, format.AMD64}[i]
		if d.Platform == nil || d.Platform.OS != "linux" || d.Platform.Architecture != arch || d.Annotations[ocilayout.RefAnnotation] != arch {
			t.Errorf("manifest %d: %+v", i, d)
		}
		var m v1.Manifest
		if err := json.Unmarshal(files[blobName(d)], &m); err != nil {
			t.Fatal(err)
		}
		want, configs = append(want, blobName(d)), append(configs, blobName(m.Config))
		for _, l := range m.Layers {
			layers = append(layers, blobName(l))
		}
	}
	var once []string
	for _, name := range slices.Concat(want, configs, layers) { // The architectures share two of their files.
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	if len(once) != 2+2+1+3 || !slices.Equal(names, once) {
		t.Errorf("the archive has %q, want %q", names, once)
	}
}

func blobName(d v1.Descriptor) string { return "blobs/sha256/" + d.Digest.Hex }

func TestArtifactErrors(t *testing.T) {
	o, out := artifactOptions(t, t.TempDir()), t.TempDir()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, tt := range map[string]struct {
		Artifact
		to string
	}{
		"cannot make an artifact of onboot/000-once: only services can be replaced on a running machine": {Artifact{Service: "once"}, "a.tar"},
		`cannot find container "none": there are onboot/000-once, services/writable`:                     {Artifact{Service: "none"}, "a.tar"},
		`cannot build for architecture "vax"`:                                                            {Artifact{Service: "writable", Archs: []string{"vax"}}, "a.tar"},
		"cannot make an artifact for amd64 twice":                                                        {Artifact{Service: "writable", Archs: []string{"amd64", "amd64"}}, "a.tar"},
		"there is no directory":   {Artifact{Service: "writable", Archs: []string{"amd64", "s390x"}}, "a.tar.zst"},
		"the folder is not empty": {Artifact{Service: "writable"}, full},
	} {
		to := filepath.Join(out, tt.to)
		if filepath.IsAbs(tt.to) {
			to = tt.to
		}
		if _, err := WriteArtifact(t.Context(), o, tt.Artifact, Target{Name: to}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		t.Errorf("in the folder are %v, %v", left, err)
	}
}

func TestIsArchive(t *testing.T) {
	for name, want := range map[string]bool{
		"a.tar": true, "b/a.tar.zst": true, "a.tar.gz": true, "a": false, "a.zst": false, "tar": false, ".tar": false, "a.tar/": false,
	} {
		if got := IsArchive(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
