package staging

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"keelson/runtime/artifact"
)

// entry is one of a tar.
type entry struct {
	tar.Header
	data string
}

// header returns one whose owner is this user: only root may give files away.
func header(name string, kind byte, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: kind, Linkname: target, Mode: 0o755, Uid: os.Getuid(), Gid: os.Getgid()}
}

func file(name, data string) entry {
	return entry{header(name, tar.TypeReg, ""), data}
}

func folder(name string) entry {
	return entry{Header: header(name, tar.TypeDir, "")}
}

func symlink(name, target string) entry {
	return entry{Header: header(name, tar.TypeSymlink, target)}
}

func hardLink(name, target string) entry {
	return entry{Header: header(name, tar.TypeLink, target)}
}

// pack returns a tar.
func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		if e.Typeflag == tar.TypeReg && e.Size == 0 {
			e.Size = int64(len(e.data))
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zstandard(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// image is an OCI layout that a test puts together. A test that wants a broken one changes
// its parts before it calls tar.
type image struct {
	t       testing.TB
	version string            // content of oci-layout
	index   v1.Index          // index.json
	blobs   map[string][]byte // by digest in hexadecimal
	extra   []entry           // at the end of the archive
}

func newImage(t testing.TB) *image {
	return &image{t: t, version: `{"imageLayoutVersion":"1.0.0"}`, blobs: map[string][]byte{}}
}

// blob adds a blob and returns its descriptor.
func (i *image) blob(mediaType string, data []byte) v1.Descriptor {
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	i.blobs[digest] = data
	return v1.Descriptor{MediaType: mediaType, Digest: digestOf(data), Size: int64(len(data))}
}

func digestOf(data []byte) digest.Digest { return digest.FromBytes(data) }

func (i *image) json(mediaType string, v any) v1.Descriptor {
	i.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		i.t.Fatal(err)
	}
	return i.blob(mediaType, data)
}

// add adds a manifest to the index.
func (i *image) add(architecture string, m v1.Manifest) v1.Descriptor {
	i.t.Helper()
	m.SchemaVersion = 2
	m.MediaType = v1.MediaTypeImageManifest
	if m.ArtifactType == artifact.Type {
		m.Annotations = maps.Clone(m.Annotations)
		m.Annotations[artifact.Architecture] = architecture
	}
	d := i.json(v1.MediaTypeImageManifest, m)
	d.Platform = &v1.Platform{OS: "linux", Architecture: architecture}
	d.ArtifactType = m.ArtifactType
	i.index.Manifests = append(i.index.Manifests, d)
	return d
}

// artifact returns the manifest of an artifact for service web.
func (i *image) artifact(layers ...v1.Descriptor) v1.Manifest {
	return v1.Manifest{
		ArtifactType: artifact.Type,
		Config:       i.blob(artifact.ConfigType, []byte(`{"ociVersion":"1.2.0"}`)),
		Layers:       append([]v1.Descriptor{i.blob(artifact.RuntimeType, []byte(`{"mkdir":["/x"]}`))}, layers...),
		Annotations:  map[string]string{artifact.TitleKey: "web", artifact.CreatedKey: "2026-01-02T03:04:05Z"},
	}
}

// plain returns the manifest of a plain container image.
func (i *image) plain(architecture string, layers ...v1.Descriptor) v1.Manifest {
	i.t.Helper()
	var config v1.Image
	config.OS, config.Architecture = "linux", architecture
	config.Config.Cmd = []string{"/bin/sh"}
	return v1.Manifest{Config: i.json(v1.MediaTypeImageConfig, config), Layers: layers}
}

// layer adds an uncompressed layer.
func (i *image) layer(entries ...entry) v1.Descriptor {
	i.t.Helper()
	return i.blob(v1.MediaTypeImageLayer, pack(i.t, entries...))
}

// members returns the entries of the archive, blobs first.
func (i *image) members() []entry {
	i.t.Helper()
	entries := []entry{folder("./"), folder("blobs/"), folder("blobs/sha256/")}
	for _, digest := range slices.Sorted(maps.Keys(i.blobs)) {
		entries = append(entries, file("blobs/sha256/"+digest, string(i.blobs[digest])))
	}
	i.index.SchemaVersion = 2
	index, err := json.Marshal(i.index)
	if err != nil {
		i.t.Fatal(err)
	}
	return append(append(entries, file("./index.json", string(index)), file("oci-layout", i.version)), i.extra...)
}

func (i *image) tar() []byte {
	i.t.Helper()
	return pack(i.t, i.members()...)
}
