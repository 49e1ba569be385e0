package ocilayout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"keelson/testvm/image/tree"
)

// version is the content of the file oci-layout.
const version = `{"imageLayoutVersion":"1.0.0"}`

// RefAnnotation names an entry in the index of a layout.
const RefAnnotation = "org.opencontainers.image.ref.name"

// FromIndex returns a layout of index with those of its images for which want returns
// true. The index itself is unchanged and keeps its digest.
func FromIndex(index v1.ImageIndex, annotations map[string]string, want func(v1.Descriptor) bool) (*tree.Tree, error) {
	files := newLayout()
	n, err := files.index(index, want)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("the index has none of the images asked for")
	}
	return files.finish(index, annotations)
}

// FromImage returns a layout of img.
func FromImage(img v1.Image, annotations map[string]string) (*tree.Tree, error) {
	files := newLayout()
	if err := files.image(img); err != nil {
		return nil, err
	}
	return files.finish(img, annotations)
}

type files struct{ *tree.Tree }

func newLayout() files {
	f := files{tree.New()}
	f.MkdirAll("blobs/sha256", 0o755, 0, 0)
	f.put("oci-layout", []byte(version))
	return f
}

func (f files) put(name string, data []byte) {
	f.Set(tree.Entry{Path: name, Type: tree.File, Mode: 0o644, Data: data})
}

// finish writes index.json.
func (f files) finish(root partial.Describable, annotations map[string]string) (*tree.Tree, error) {
	entry, err := partial.Descriptor(root)
	if err != nil {
		return nil, err
	}
	entry.Annotations = annotations
	top, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex,
		Manifests: []v1.Descriptor{*entry}})
	f.put("index.json", top)
	return f.Tree, err
}

// index adds an index and its images, and returns the number of images.
func (f files) index(index v1.ImageIndex, want func(v1.Descriptor) bool) (int, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return 0, err
	}
	digest, err := index.Digest()
	if err != nil {
		return 0, err
	}
	raw, err := index.RawManifest()
	if err != nil {
		return 0, err
	}
	if err := f.blob(digest, raw); err != nil {
		return 0, err
	}
	n := 0
	for _, d := range manifest.Manifests {
		more, err := f.below(index, d, want)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", d.Digest, err)
		}
		n += more
	}
	return n, nil
}

func (f files) below(index v1.ImageIndex, d v1.Descriptor, want func(v1.Descriptor) bool) (int, error) {
	if d.MediaType.IsIndex() {
		inner, err := index.ImageIndex(d.Digest)
		if err != nil {
			return 0, err
		}
		return f.index(inner, want)
	}
	if !d.MediaType.IsImage() || !want(d) {
		return 0, nil
	}
	img, err := index.Image(d.Digest)
	if err != nil {
		return 0, err
	}
	return 1, f.image(img)
}

func (f files) image(img v1.Image) error {
	return EachBlob(img, func(_ string, want v1.Hash, r io.Reader) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return f.blob(want, data)
	})
}

// EachBlob calls visit for every blob of an image: the manifest, the configuration and
// the layers. kind is what it is called in errors, want the digest it is known by.
func EachBlob(img v1.Image, visit func(kind string, want v1.Hash, r io.Reader) error) error {
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	raw, err := img.RawManifest()
	if err != nil {
		return err
	}
	if err := visit("manifest", digest, bytes.NewReader(raw)); err != nil {
		return err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	if err := visit("configuration", manifest.Config.Digest, bytes.NewReader(config)); err != nil {
		return err
	}
	return eachLayer(img, manifest.Layers, visit)
}

func eachLayer(img v1.Image, known []v1.Descriptor, visit func(kind string, want v1.Hash, r io.Reader) error) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for i, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return fmt.Errorf("layer %s: %w", known[i].Digest, err)
		}
		if err := errors.Join(visit("layer", known[i].Digest, r), r.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (f files) blob(want v1.Hash, data []byte) error {
	got, _, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("the content of blob %s has digest %s", want, got)
	}
	f.put(path.Join("blobs", got.Algorithm, got.Hex), data)
	return nil
}
