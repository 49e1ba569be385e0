package ocilayout

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Layout is an OCI image layout of several images. Their blobs are read when it is written,
// so that they need not fit in memory. Its zero value is empty.
type Layout struct {
	entries                    []v1.Descriptor // of index.json
	manifests, configs, layers []content
	seen                       map[v1.Hash]bool
}

// content is a blob that is not read yet.
type content struct {
	digest v1.Hash
	size   int64
	open   func() (io.ReadCloser, error)
}

func inMemory(digest v1.Hash, data []byte) content {
	return content{digest, int64(len(data)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

// AddImage adds an image. index.json lists it with these annotations and this platform,
// which may be nil.
func (l *Layout) AddImage(img v1.Image, annotations map[string]string, platform *v1.Platform) error {
	if err := l.image(img); err != nil {
		return err
	}
	return l.entry(img, annotations, platform)
}

// AddIndex adds an index with all its images.
func (l *Layout) AddIndex(index v1.ImageIndex, annotations map[string]string) error {
	if err := l.index(index); err != nil {
		return err
	}
	return l.entry(index, annotations, nil)
}

func (l *Layout) entry(d partial.Describable, annotations map[string]string, platform *v1.Platform) error {
	entry, err := partial.Descriptor(d)
	if err != nil {
		return err
	}
	// For an image that is no artifact, partial.Descriptor gives the type of its configuration.
	if types.MediaType(entry.ArtifactType).IsConfig() {
		entry.ArtifactType = ""
	}
	entry.Annotations, entry.Platform = annotations, platform
	l.entries = append(l.entries, *entry)
	return nil
}

func (l *Layout) add(list *[]content, c content) {
	if l.seen == nil {
		l.seen = map[v1.Hash]bool{}
	}
	if !l.seen[c.digest] {
		l.seen[c.digest] = true
		*list = append(*list, c)
	}
}

// manifest is what images and indexes have in common.
type manifest interface {
	Digest() (v1.Hash, error)
	RawManifest() ([]byte, error)
}

func (l *Layout) manifest(m manifest) error {
	digest, err := m.Digest()
	if err != nil {
		return err
	}
	raw, err := m.RawManifest()
	if err != nil {
		return err
	}
	l.add(&l.manifests, inMemory(digest, raw))
	return nil
}

func (l *Layout) index(index v1.ImageIndex) error {
	if err := l.manifest(index); err != nil {
		return err
	}
	all, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range all.Manifests {
		switch {
		case d.MediaType.IsIndex():
			var inner v1.ImageIndex
			if inner, err = index.ImageIndex(d.Digest); err == nil {
				err = l.index(inner)
			}
		case d.MediaType.IsImage():
			var img v1.Image
			if img, err = index.Image(d.Digest); err == nil {
				err = l.image(img)
			}
		default:
			err = fmt.Errorf("its media type %s is neither an image's nor an index's", d.MediaType)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.Digest, err)
		}
	}
	return nil
}

func (l *Layout) image(img v1.Image) error {
	if err := l.manifest(img); err != nil {
		return err
	}
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	if len(layers) != len(m.Layers) {
		return fmt.Errorf("it has %d layers, its manifest %d", len(layers), len(m.Layers))
	}
	l.add(&l.configs, inMemory(m.Config.Digest, config))
	for i, layer := range layers {
		l.add(&l.layers, content{m.Layers[i].Digest, m.Layers[i].Size, layer.Compressed})
	}
	return nil
}

// file is a file of a layout.
type file struct {
	name string
	content
}

// files returns the files of the layout, those first that a reader needs to know which of
// the others it wants.
func (l *Layout) files() ([]file, error) {
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: l.entries})
	if err != nil {
		return nil, err
	}
	files := []file{{"oci-layout", inMemory(v1.Hash{}, []byte(version))}, {"index.json", inMemory(v1.Hash{}, index)}}
	for _, c := range slices.Concat(l.manifests, l.configs, l.layers) {
		if c.digest.Algorithm != "sha256" {
			return nil, fmt.Errorf("the digest %s has an unsupported algorithm", c.digest)
		}
		files = append(files, file{"blobs/sha256/" + c.digest.Hex, c})
	}
	return files, nil
}

// copyTo writes the content of a file. A blob is compared with its digest and size.
func (f file) copyTo(w io.Writer) error {
	r, err := f.open()
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(r, f.size))
	if err != nil {
		return err
	}
	more, err := io.Copy(io.Discard, io.LimitReader(r, 1))
	if err != nil {
		return err
	}
	if n+more != f.size {
		return fmt.Errorf("it does not have the size of %d bytes that its manifest names", f.size)
	}
	if got := hex.EncodeToString(h.Sum(nil)); f.digest.Hex != "" && got != f.digest.Hex {
		return fmt.Errorf("its content has digest sha256:%s", got)
	}
	return nil
}

// WriteTar writes the layout as a tar archive: oci-layout, index.json, manifests,
// configurations, layers.
func (l *Layout) WriteTar(w io.Writer, mtime time.Time) error {
	files, err := l.files()
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	for _, f := range files {
		err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: f.size, Mode: 0o644, ModTime: mtime, Format: tar.FormatPAX})
		if err == nil {
			err = f.copyTo(tw)
		}
		if err != nil {
			return fmt.Errorf("cannot write %s to tar archive: %w", f.name, err)
		}
	}
	return tw.Close()
}

// WriteDir writes the layout to a folder that exists.
func (l *Layout) WriteDir(dir string) error {
	files, err := l.files()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o755); err != nil {
		return err
	}
	for _, f := range files {
		out, err := os.OpenFile(filepath.Join(dir, f.name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err == nil {
			err = errors.Join(f.copyTo(out), out.Close())
		}
		if err != nil {
			return fmt.Errorf("cannot write %s: %w", f.name, err)
		}
	}
	return nil
}
