package signing

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"keelson/runtime/artifact"
)

// manifestLimit bounds index.json and manifests.
const manifestLimit = 4 << 20

const (
	indexFile = "index.json"
	blobs     = "blobs/sha256/"
)

// layout is what an artifact says about itself.
type layout struct {
	path  string
	index []byte            // of index.json
	sums  map[string]bool   // digests of the blobs that are there
	small map[string][]byte // blobs up to manifestLimit, by digest
}

// Manifest is one manifest of an artifact.
type Manifest struct {
	Name, Architecture, Digest string

	position   int // in index.json
	signatures []string
}

// open reads the artifact at path. It refuses blobs that are not what their names say.
func open(name string) (*layout, error) {
	l := &layout{path: name, sums: map[string]bool{}, small: map[string][]byte{}}
	if err := l.read(); err != nil {
		return nil, fmt.Errorf("cannot read the artifact %s: %w", name, err)
	}
	if l.index == nil {
		return nil, fmt.Errorf("cannot read the artifact %s: it has no %s, so it is not an OCI image layout", name, indexFile)
	}
	return l, nil
}

func (l *layout) read() error {
	info, err := os.Stat(l.path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return l.readFolder()
	}
	f, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, _, err := decompress(f)
	if err != nil {
		return err
	}
	defer plain.Close()
	archive := tar.NewReader(plain)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeReg {
			if err := l.entry(path.Clean(h.Name), archive); err != nil {
				return err
			}
		}
	}
}

func (l *layout) readFolder() error {
	return filepath.WalkDir(l.path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		relative, err := filepath.Rel(l.path, name)
		if err != nil {
			return err
		}
		return l.entry(filepath.ToSlash(relative), f)
	})
}

// entry reads one file of the layout.
func (l *layout) entry(name string, r io.Reader) error {
	sum, isBlob := strings.CutPrefix(name, blobs)
	if name != indexFile && !isBlob {
		return nil
	}
	hash := sha256.New()
	var start bytes.Buffer
	n, err := io.Copy(hash, io.TeeReader(r, &limited{&start}))
	switch {
	case err != nil:
		return err
	case !isBlob && n > manifestLimit:
		return fmt.Errorf("%s is larger than %d MiB", name, manifestLimit>>20)
	case !isBlob && l.index != nil:
		return fmt.Errorf("%s occurs twice", name)
	case !isBlob:
		l.index = start.Bytes()
		return nil
	case hex.EncodeToString(hash.Sum(nil)) != sum:
		return fmt.Errorf("%s has another digest: sha256:%x", name, hash.Sum(nil))
	}
	l.sums["sha256:"+sum] = true
	if n <= manifestLimit {
		l.small["sha256:"+sum] = start.Bytes()
	}
	return nil
}

// limited keeps the first bytes of what is written to it.
type limited struct{ b *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := manifestLimit - l.b.Len(); room > 0 {
		l.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// manifests returns the manifests that index.json lists, all of whose parts are there.
func (l *layout) manifests() ([]Manifest, error) {
	var index v1.Index
	if err := json.Unmarshal(l.index, &index); err != nil {
		return nil, fmt.Errorf("cannot read %s of %s: %w", indexFile, l.path, err)
	}
	if len(index.Manifests) == 0 {
		return nil, fmt.Errorf("%s of %s lists no manifests", indexFile, l.path)
	}
	var all []Manifest
	for i, d := range index.Manifests {
		m, err := l.manifest(d)
		if err != nil {
			return nil, fmt.Errorf("%s: manifest %s: %w", l.path, d.Digest, err)
		}
		m.position = i
		all = append(all, m)
	}
	return all, nil
}

func (l *layout) manifest(d v1.Descriptor) (Manifest, error) {
	var m v1.Manifest
	if d.MediaType == v1.MediaTypeImageIndex {
		return Manifest{}, errors.New("it is an index itself, and its manifests cannot be signed without a change of its digest")
	}
	text, ok := l.small[string(d.Digest)]
	if !ok {
		return Manifest{}, errors.New("it is not in the layout, or is too large")
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return Manifest{}, err
	}
	for _, part := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if !l.sums[string(part.Digest)] {
			return Manifest{}, fmt.Errorf("its blob %s is not in the layout", part.Digest)
		}
	}
	found := Manifest{Name: m.Annotations[artifact.TitleKey], Architecture: m.Annotations[artifact.Architecture], Digest: string(d.Digest)}
	if found.Architecture == "" && d.Platform != nil {
		found.Architecture = d.Platform.Architecture
	}
	found.signatures = artifact.SplitSignatures(d.Annotations[artifact.SignatureKey])
	return found, nil
}

// decompress returns the plain content of r, and a function that compresses in the same
// way.
func decompress(r io.Reader) (io.ReadCloser, func(io.Writer) (io.WriteCloser, error), error) {
	b := bufio.NewReader(r)
	magic, err := b.Peek(4)
	if err != nil {
		return nil, nil, fmt.Errorf("it is no archive: %w", err)
	}
	switch {
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b)
		if err != nil {
			return nil, nil, err
		}
		return z.IOReadCloser(), func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }, nil
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		return z, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }, err
	}
	return io.NopCloser(b), func(w io.Writer) (io.WriteCloser, error) { return plainWriter{w}, nil }, nil
}

type plainWriter struct{ io.Writer }

func (plainWriter) Close() error { return nil }
