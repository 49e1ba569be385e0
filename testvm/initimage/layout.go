package initimage

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layoutVersion is the content of the file oci-layout.
const layoutVersion = `{"imageLayoutVersion":"1.0.0"}`

// writeLayout writes an OCI layout whose only entry is index, called ref.
func writeLayout(w io.Writer, index v1.ImageIndex, ref string) error {
	blobs := map[string][]byte{}
	if err := collect(blobs, index); err != nil {
		return err
	}
	entry, err := partial.Descriptor(index)
	if err != nil {
		return err
	}
	entry.Annotations = map[string]string{nameAnnotation: ref, refAnnotation: ref}
	top, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex,
		Manifests: []v1.Descriptor{*entry}})
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	err = errors.Join(writeDir(tw, "blobs/"), writeDir(tw, "blobs/sha256/"))
	for _, hex := range slices.Sorted(maps.Keys(blobs)) {
		err = errors.Join(err, writeFile(tw, "blobs/sha256/"+hex, blobs[hex]))
	}
	return errors.Join(err, writeFile(tw, "index.json", top),
		writeFile(tw, "oci-layout", []byte(layoutVersion)), tw.Close())
}

// collect puts everything index is made of into blobs, by digest.
func collect(blobs map[string][]byte, index v1.ImageIndex) error {
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	if err := add(blobs, index.RawManifest); err != nil {
		return err
	}
	for _, d := range manifest.Manifests {
		img, err := index.Image(d.Digest)
		if err != nil {
			return fmt.Errorf("image %s: %w", d.Digest, err)
		}
		if err := collectImage(blobs, img); err != nil {
			return fmt.Errorf("image %s: %w", d.Digest, err)
		}
	}
	return nil
}

func collectImage(blobs map[string][]byte, img v1.Image) error {
	if err := errors.Join(add(blobs, img.RawManifest), add(blobs, img.RawConfigFile)); err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		err := add(blobs, func() ([]byte, error) {
			r, err := l.Compressed()
			if err != nil {
				return nil, err
			}
			data, err := io.ReadAll(r)
			return data, errors.Join(err, r.Close())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// add puts what get returns under its digest.
func add(blobs map[string][]byte, get func() ([]byte, error)) error {
	data, err := get()
	if err != nil {
		return err
	}
	h, _, err := v1.SHA256(bytes.NewReader(data))
	blobs[h.Hex] = data
	return err
}

func writeDir(tw *tar.Writer, name string) error {
	return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: epoch, Format: tar.FormatUSTAR})
}

func writeFile(tw *tar.Writer, name string, data []byte) error {
	err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644,
		Size: int64(len(data)), ModTime: epoch, Format: tar.FormatUSTAR})
	if err != nil {
		return err
	}
	_, err = tw.Write(data)
	return err
}
