package staging

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"keelson/runtime/artifact"
)

// deferring is a machine on which the verification of a root may be deferred.
var deferring = settings{Architecture: "amd64", MaxSize: 64 << 20, Images: true, DeferRoot: true}

func unpackedWith(t testing.TB, s settings, data []byte) (dir string, meta artifact.Meta, err error) {
	t.Helper()
	return unpackedFrom(t, s, bytes.NewReader(data))
}

func unpackedFrom(t testing.TB, s settings, r io.Reader) (dir string, meta artifact.Meta, err error) {
	t.Helper()
	dir = t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	meta, err = unpack(root, r, s)
	return dir, meta, err
}

// rootSize is that of an image whose verification is deferred: more than a document may have.
const rootSize = artifact.MaxDocument + 4096

// verityRoot adds an erofs image with all that dm-verity needs.
func (i *image) verityRoot(size int) v1.Descriptor {
	d := i.blob(artifact.ErofsType, bytes.Repeat([]byte("r"), size))
	d.Annotations = map[string]string{
		artifact.VerityRootHash: strings.Repeat("ab", 32), artifact.VerityOffset: "4096", artifact.VerityBlocks: "1", artifact.VeritySalt: "0102",
	}
	return d
}

// ordered returns the archive as the builder writes it: what describes blobs comes before them.
// The blob of which d is the descriptor is last and has other content, but its size.
func (i *image) ordered(d v1.Descriptor) []byte {
	i.t.Helper()
	members := i.members()
	var first, last []entry
	for _, m := range members {
		switch {
		case strings.HasSuffix(m.Name, d.Digest.Encoded()):
			m.data = strings.Repeat("X", len(m.data))
			last = append(last, m)
		case strings.HasPrefix(m.Name, "blobs/"):
			last = append([]entry{m}, last...)
		default:
			first = append(first, m)
		}
	}
	return pack(i.t, append(first, last...)...)
}

// The content of an erofs image is not compared with its digest if the manifest came before it
// and describes the whole hash tree; the digest is returned instead.
func TestDeferred(t *testing.T) {
	for _, both := range []bool{false, true} {
		i := newImage(t)
		root := i.verityRoot(rootSize)
		layers := []v1.Descriptor{root}
		if both {
			layers = []v1.Descriptor{i.layer(file("x", "text")), root}
		}
		i.add("amd64", i.artifact(layers...))
		data := i.ordered(root)
		file := filepath.Join(t.TempDir(), "artifact.tar")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for name, r := range map[string]io.Reader{
			"memory": bytes.NewReader(data), "compressed": bytes.NewReader(gzipped(t, data)), "file": open(t, file), "pipe": piped(t, data),
		} {
			dir, meta, err := unpackedFrom(t, deferring, r)
			if err != nil || meta.RootDigest != string(root.Digest) || meta.VerityBlocks != 1 || meta.VeritySalt != "0102" {
				t.Fatalf("%s: meta %+v, %v", name, meta, err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, artifact.RootErofs)); err != nil || string(got) != strings.Repeat("X", rootSize) {
				t.Errorf("%s: the image has %d bytes, or others: %v", name, len(got), err)
			}
		}
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// piped returns a pipe that data is written to.
func piped(t *testing.T, data []byte) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	go func() {
		defer w.Close()
		_, _ = w.Write(data) // Fails if the reader has failed.
	}()
	return r
}

// An archive that ends in the image is refused.
func TestDeferredCut(t *testing.T) {
	i := newImage(t)
	root := i.verityRoot(rootSize)
	i.add("amd64", i.artifact(root))
	data := i.ordered(root)
	data = data[:len(data)-rootSize/2]
	file := filepath.Join(t.TempDir(), "artifact.tar")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{"memory": bytes.NewReader(data), "pipe": piped(t, data), "file": open(t, file)} {
		_, _, err := unpackedFrom(t, deferring, r)
		if err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever else an archive has is compared, and so is the root if it could be read as something
// else, or if anybody would have to trust its superblock.
func TestNotDeferred(t *testing.T) {
	const other = "has another digest"
	for name, tt := range map[string]struct {
		machine settings
		change  func(i *image, root *v1.Descriptor, m *v1.Manifest)
		reason  string
	}{
		"not wanted":   {settings{Architecture: "amd64", MaxSize: 64 << 20, Images: true}, nil, other},
		"cannot mount": {settings{Architecture: "amd64", MaxSize: 64 << 20, DeferRoot: true}, nil, other},
		"superblock":   {deferring, func(_ *image, root *v1.Descriptor, _ *v1.Manifest) { delete(root.Annotations, artifact.VerityBlocks) }, other},
		"layer":        {deferring, func(_ *image, root *v1.Descriptor, _ *v1.Manifest) { root.MediaType = v1.MediaTypeImageLayer }, other},
		"no artifact":  {deferring, func(_ *image, _ *v1.Descriptor, m *v1.Manifest) { m.ArtifactType = "" }, other},
		"another size": {deferring, func(_ *image, root *v1.Descriptor, _ *v1.Manifest) { root.Size++ }, "its descriptor says"},
		"no number":    {deferring, func(_ *image, root *v1.Descriptor, _ *v1.Manifest) { root.Annotations[artifact.VerityBlocks] = "x" }, "verity.blocks: bad value"},
		"no blocks":    {deferring, func(_ *image, root *v1.Descriptor, _ *v1.Manifest) { root.Annotations[artifact.VerityBlocks] = "0" }, "verity.blocks: bad value"},
		"many blocks":  {deferring, func(_ *image, root *v1.Descriptor, _ *v1.Manifest) { root.Annotations[artifact.VerityBlocks] = "2" }, "verity.blocks: bad value"},
		"no root hash": {deferring, func(_ *image, root *v1.Descriptor, _ *v1.Manifest) { delete(root.Annotations, artifact.VerityRootHash) }, "verity.offset: bad value"},
		"short hash":   {deferring, func(_ *image, root *v1.Descriptor, _ *v1.Manifest) { root.Annotations[artifact.VerityRootHash] = "ab" }, "verity.blocks: bad value"},
		"bad salt":     {deferring, func(_ *image, root *v1.Descriptor, _ *v1.Manifest) { root.Annotations[artifact.VeritySalt] = "x" }, "verity.salt: bad value"},
		"huge salt": {deferring, func(_ *image, root *v1.Descriptor, _ *v1.Manifest) {
			root.Annotations[artifact.VeritySalt] = strings.Repeat("00", 257)
		}, "verity.salt: bad value"},
		"small": {deferring, func(i *image, root *v1.Descriptor, _ *v1.Manifest) { *root = i.verityRoot(8192) }, other},
		"used as a file": {deferring, func(_ *image, root *v1.Descriptor, m *v1.Manifest) {
			m.Layers[0] = v1.Descriptor{MediaType: artifact.RuntimeType, Digest: root.Digest, Size: root.Size}
		}, "digest was not compared"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newImage(t)
			root := i.verityRoot(rootSize)
			m := i.artifact(root)
			if tt.change != nil {
				tt.change(i, &root, &m)
			}
			m.Layers[1] = root
			i.add("amd64", m)
			_, _, err := unpackedWith(t, tt.machine, i.ordered(root))
			checkRefusal(t, err, tt.reason)
		})
	}
	t.Run("the manifest follows", func(t *testing.T) {
		i := newImage(t)
		root := i.verityRoot(rootSize)
		i.add("amd64", i.artifact(root))
		i.blobs[root.Digest.Encoded()][0] = 'X'
		_, _, err := unpackedWith(t, deferring, i.tar())
		checkRefusal(t, err, other)
	})
}

// The child computes the digest of a file, and ends with the context.
func TestDigest(t *testing.T) {
	o := options(t)
	path := filepath.Join(t.TempDir(), "file")
	data := bytes.Repeat([]byte("data"), 1<<20)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Digest(t.Context(), o, t.TempDir(), path); err != nil || got != string(digestOf(data)) {
		t.Errorf("digest %s, %v; want %s", got, err, digestOf(data))
	}
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Digest(ctx, o, t.TempDir(), path); err == nil {
		t.Error("the digest of an endless file was computed")
	}
	if err := os.Symlink(path, path+"-link"); err != nil {
		t.Fatal(err)
	}
	if got, err := Digest(t.Context(), o, t.TempDir(), path+"-link"); err == nil {
		t.Errorf("a link has the digest %s", got)
	}
	if _, err := Digest(t.Context(), Options{Program: "/none"}, t.TempDir(), path); err == nil || !strings.Contains(err.Error(), "cannot start /none") {
		t.Errorf("without a program: %v", err)
	}
}
