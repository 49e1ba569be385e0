package ocilayout

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"keelson/testvm/image/tree"
)

// Blob is content of an artifact. It is a partial.CompressedLayer.
type Blob struct {
	Type        types.MediaType
	Annotations map[string]string // of its descriptor
	content
}

// Bytes returns a blob in memory.
func Bytes(mediaType types.MediaType, data []byte) (Blob, error) {
	digest, _, err := v1.SHA256(bytes.NewReader(data))
	return Blob{Type: mediaType, content: inMemory(digest, data)}, err
}

// File returns a file of this host as a blob.
func File(mediaType types.MediaType, name string) (Blob, error) {
	open := func() (io.ReadCloser, error) { return os.Open(name) }
	r, err := open()
	if err != nil {
		return Blob{}, err
	}
	defer r.Close()
	digest, size, err := v1.SHA256(r)
	return Blob{Type: mediaType, content: content{digest, size, open}}, err
}

// layerWindow bounds the memory that a reader of a layer needs (RFC 8878, section 3.1.1.1.2:
// decoders support at least 8 MiB).
const layerWindow = 8 << 20

// Layer returns files as a layer that is compressed with zstd. uid and gid own the top
// folder, which the layer lists only if that is not root.
func Layer(files *tree.Tree, mtime time.Time, uid, gid int) (Blob, error) {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
		zstd.WithWindowSize(layerWindow), zstd.WithEncoderConcurrency(1)) // The result depends only on the data.
	if err != nil {
		return Blob{}, err
	}
	if uid != 0 || gid != 0 {
		top := tar.NewWriter(z) // It is not closed: that would end the archive.
		err = top.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755, Uid: uid, Gid: gid, ModTime: mtime, Format: tar.FormatPAX})
		if err != nil {
			return Blob{}, err
		}
	}
	if err := files.WriteTar(z, mtime); err != nil {
		return Blob{}, err
	}
	if err := z.Close(); err != nil {
		return Blob{}, fmt.Errorf("cannot compress a layer: %w", err)
	}
	return Bytes(types.OCILayerZStd, packed.Bytes())
}

func (b Blob) Digest() (v1.Hash, error)            { return b.digest, nil }
func (b Blob) Size() (int64, error)                { return b.size, nil }
func (b Blob) MediaType() (types.MediaType, error) { return b.Type, nil }
func (b Blob) Compressed() (io.ReadCloser, error)  { return b.open() }
func (b Blob) Descriptor() (*v1.Descriptor, error) { d := b.descriptor(); return &d, nil }
func (b Blob) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: b.Type, Size: b.size, Digest: b.digest, Annotations: b.Annotations}
}

// artifact is a partial.CompressedImageCore.
type artifact struct {
	manifest []byte
	config   []byte
	layers   map[v1.Hash]Blob
}

// Artifact returns an image with an artifact type. Its configuration may be of any media
// type.
func Artifact(artifactType string, configType types.MediaType, config []byte, layers []Blob, annotations map[string]string) (v1.Image, error) {
	c, err := Bytes(configType, config)
	if err != nil {
		return nil, err
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifactType, Config: c.descriptor(), Annotations: annotations}
	a := artifact{config: config, layers: map[v1.Hash]Blob{}}
	for _, l := range layers {
		m.Layers = append(m.Layers, l.descriptor())
		a.layers[l.digest] = l
	}
	if a.manifest, err = json.Marshal(m); err != nil {
		return nil, err
	}
	return partial.CompressedToImage(a)
}

func (a artifact) RawConfigFile() ([]byte, error)      { return a.config, nil }
func (a artifact) RawManifest() ([]byte, error)        { return a.manifest, nil }
func (a artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (a artifact) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	l, ok := a.layers[h]
	if !ok {
		return nil, fmt.Errorf("there is no layer %s", h)
	}
	return l, nil
}
