package ocilayout

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
)

// A blob that is not what its manifest names is an error.
func TestLayoutComparesDigests(t *testing.T) {
	good, err := Bytes("text/plain", []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"content": "", "Content": "its content has digest sha256:", "con": "the size of 7 bytes", "contents": "the size of 7 bytes",
	} {
		blob := good
		blob.open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
		img, err := Artifact("application/x", "application/json", []byte("{}"), []Blob{blob}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var l Layout
		if err := l.AddImage(img, nil, nil); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{l.WriteTar(io.Discard, time.Unix(0, 0)), l.WriteDir(t.TempDir())} {
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: got %v, want %q", text, err, want)
			}
		}
	}
}

// An index keeps its digest, and its images are in the layout, nested ones too.
func TestLayoutOfIndex(t *testing.T) {
	inner, err := random.Index(100, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: inner}, mutate.IndexAddendum{Add: img})
	var l Layout
	if err := l.AddIndex(index, map[string]string{RefAnnotation: "v1"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := l.WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := top.IndexManifest()
	if err != nil || len(m.Manifests) != 1 || m.Manifests[0].Annotations[RefAnnotation] != "v1" || m.Manifests[0].ArtifactType != "" {
		t.Fatalf("index.json has %+v, %v", m, err)
	}
	digest, err := index.Digest()
	if err != nil || m.Manifests[0].Digest != digest {
		t.Errorf("the index has digest %s, not %s: %v", m.Manifests[0].Digest, digest, err)
	}
	got, err := top.ImageIndex(digest)
	if err != nil {
		t.Fatal(err)
	}
	if n := countBlobs(t, got); n != 3*2+2*2+1 { // manifest and configuration of three images, layers
		t.Errorf("%d blobs", n)
	}
}

// countBlobs reads all blobs of the images of an index.
func countBlobs(t *testing.T, index v1.ImageIndex) (n int) {
	t.Helper()
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		if d.MediaType.IsIndex() {
			inner, err := index.ImageIndex(d.Digest)
			if err != nil {
				t.Fatal(err)
			}
			n += countBlobs(t, inner)
			continue
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		err = EachBlob(img, func(kind string, want v1.Hash, r io.Reader) error {
			data, err := io.ReadAll(r)
			if got, _, _ := v1.SHA256(bytes.NewReader(data)); got != want {
				t.Errorf("the %s has digest %s, not %s", kind, got, want)
			}
			n++
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}
