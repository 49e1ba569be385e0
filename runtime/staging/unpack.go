package staging

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"keelson/runtime/artifact"
)

// Names of files in an unpacked bundle.
const (
	configFile  = "config.json"
	runtimeFile = "runtime.json"
)

// settings say what unpack needs to know of the machine.
type settings struct {
	Architecture string
	MaxSize      int64
	Images       bool // the machine can mount the root as an erofs image
	DeferRoot    bool // as in Options
	InPlace      bool // as in Options
}

// unpack reads an artifact from r into root, an empty folder. It leaves what it has
// written behind on an error.
func unpack(root *os.Root, r io.Reader, s settings) (artifact.Meta, error) {
	l, err := newLayout(root, &budget{limit: s.MaxSize})
	if err != nil {
		return artifact.Meta{}, err
	}
	if s.DeferRoot && s.Images {
		l.defers = func(digest string) bool { return deferrable(l, s, digest) }
		l.inPlace = s.InPlace
	}
	if err := l.readArchive(r); err != nil {
		return artifact.Meta{}, err
	}
	c, err := choose(l, s.Architecture)
	if err != nil {
		return artifact.Meta{}, err
	}
	meta, err := describe(c, s.Architecture)
	if err != nil {
		return artifact.Meta{}, fmt.Errorf("manifest %s: %w", c.descriptor.Digest, err)
	}
	meta.Unpacked = c.chooseRoot(s.Images)
	used := append(c.manifest.Layers, c.manifest.Config)
	if c.programs {
		used = append(used, c.descriptor)
	}
	if err := l.retain(used...); err != nil {
		return artifact.Meta{}, fmt.Errorf("manifest %s: %w", c.descriptor.Digest, err)
	}
	if c.programs {
		err = writePrograms(l, c, &meta)
	} else {
		err = write(l, c, &meta)
	}
	if err != nil {
		return artifact.Meta{}, err
	}
	if err := finish(root, meta); err != nil {
		return artifact.Meta{}, err
	}
	if meta.RootDigest != "" && l.deferred == strings.TrimPrefix(meta.RootDigest, "sha256:") {
		meta.InPlace = l.place
	}
	return meta, nil
}

// chooseRoot removes one of the two forms of the root from the layers of an artifact that has
// both. It reports whether that is the erofs image.
func (c *choice) chooseRoot(images bool) (unpacked bool) {
	layers := c.manifest.Layers
	last := len(layers) - 1
	if c.image != nil || last < 2 || layers[last].MediaType != artifact.ErofsType || layers[1].MediaType == artifact.ErofsType {
		return false
	}
	if images {
		c.manifest.Layers = []v1.Descriptor{layers[0], layers[last]}
		return false
	}
	c.manifest.Layers = layers[:last]
	return true
}

// deferrable reports whether a blob is the erofs image of an artifact of which the layout has
// the manifest by now, and whether dm-verity can be set up from the manifest alone.
func deferrable(l *layout, s settings, digest string) bool {
	c, err := choose(l, s.Architecture)
	if err != nil || c.image != nil || c.programs || c.chooseRoot(s.Images) {
		return false
	}
	root := c.manifest.Layers[len(c.manifest.Layers)-1]
	_, known := root.Annotations[artifact.VerityBlocks]
	return known && root.MediaType == artifact.ErofsType && string(root.Digest) == "sha256:"+digest
}

// describe returns what the manifest says of the artifact.
func describe(c choice, architecture string) (artifact.Meta, error) {
	notes := c.manifest.Annotations
	meta := artifact.Meta{
		Digest: string(c.descriptor.Digest), Architecture: architecture, Image: c.image != nil, Programs: c.programs,
		Created: notes[artifact.CreatedKey], Signatures: c.signatures,
	}
	if c.image != nil {
		meta.Reference = c.reference
		if meta.Created == "" && c.image.Created != nil {
			meta.Created = c.image.Created.Format(time.RFC3339)
		}
		return meta, checkMeta(meta, architecture)
	}
	if c.programs {
		return meta, checkMeta(meta, architecture)
	}
	meta.Name = notes[artifact.TitleKey]
	switch value := notes[artifact.RootWritable]; value {
	case "true":
		meta.Writable = true
	case "":
	default:
		return meta, fmt.Errorf("annotation %s: bad value %q, want true or nothing", artifact.RootWritable, value)
	}
	return meta, checkMeta(meta, architecture)
}

// write makes the files of the bundle from the blobs, and completes meta.
func write(l *layout, c choice, meta *artifact.Meta) error {
	layers := c.manifest.Layers
	documents := []struct {
		name string
		blob v1.Descriptor
	}{{artifact.ImageFile, c.manifest.Config}}
	if c.image == nil {
		documents[0].name = configFile
		documents = append(documents, documents[0])
		documents[1].name, documents[1].blob, layers = runtimeFile, layers[0], layers[1:]
	}
	for _, d := range documents {
		data, err := l.read(d.blob)
		if err == nil && !json.Valid(data) {
			err = errors.New("it is not JSON")
		}
		if err == nil {
			err = writeFile(l.root, d.name, data)
		}
		if err != nil {
			return fmt.Errorf("cannot read %s of the artifact: %w", d.name, err)
		}
		meta.Size += int64(len(data))
	}
	if c.image == nil && layers[0].MediaType == artifact.ErofsType {
		return writeErofs(l, layers, meta)
	}
	if err := l.root.Mkdir(artifact.RootDir, 0o755); err != nil {
		return fmt.Errorf("cannot make folder %s: %w", artifact.RootDir, err)
	}
	size, err := applyLayers(l, layers, filepath.Join(l.root.Name(), artifact.RootDir), checkEntry)
	meta.Size += size
	return err
}

// writeErofs makes the blob of the root file system a file of the bundle.
func writeErofs(l *layout, layers []v1.Descriptor, meta *artifact.Meta) error {
	d := layers[0]
	fail := func(err error) error { return fmt.Errorf("cannot use layer %s: %w", d.Digest, err) }
	if len(layers) > 1 {
		return fail(errors.New("an erofs image must be the only layer of the root, or the last one"))
	}
	if offset, ok := d.Annotations[artifact.VerityOffset]; ok {
		n, err := strconv.ParseInt(offset, 10, 64)
		if err != nil || n >= d.Size {
			return fail(fmt.Errorf("annotation %s: bad value %q", artifact.VerityOffset, offset))
		}
		meta.VerityOffset = n
	}
	if blocks, ok := d.Annotations[artifact.VerityBlocks]; ok {
		n, err := strconv.ParseInt(blocks, 10, 64)
		if err != nil || n <= 0 {
			return fail(fmt.Errorf("annotation %s: bad value %q", artifact.VerityBlocks, blocks))
		}
		meta.VerityBlocks, meta.VeritySalt = n, d.Annotations[artifact.VeritySalt]
	}
	meta.RootHash = d.Annotations[artifact.VerityRootHash]
	if meta.VerityBlocks > 0 {
		meta.RootDigest = string(d.Digest)
	} else if l.isDeferred(d) {
		return fail(errNotCompared)
	}
	if err := checkMeta(*meta, meta.Architecture); err != nil {
		return fail(err)
	}
	if err := l.rename(d, artifact.RootErofs); err != nil {
		return fail(err)
	}
	meta.Size += d.Size
	return nil
}

// finish removes the blobs, and adds the file with meta.
func finish(root *os.Root, meta artifact.Meta) error {
	if err := root.RemoveAll(blobsDir); err != nil {
		return fmt.Errorf("cannot remove the blobs: %w", err)
	}
	data, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", artifact.File, err)
	}
	if err := writeFile(root, artifact.File, append(data, '\n')); err != nil {
		return fmt.Errorf("cannot write %s: %w", artifact.File, err)
	}
	return nil
}

func writeFile(root *os.Root, name string, data []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
