package staging

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/artifact"
)

// inPlace is a machine that may use the root where it is.
var inPlace = settings{Architecture: "amd64", MaxSize: 64 << 20, Images: true, DeferRoot: true, InPlace: true}

// The root of an artifact that is a file of a tar is not copied; the result says where it is. That of any
// other source is.
func TestInPlace(t *testing.T) {
	i := newImage(t)
	root := i.verityRoot(rootSize)
	i.add("amd64", i.artifact(root))
	data := i.ordered(root)
	path := filepath.Join(t.TempDir(), "artifact.tar")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	want := artifact.Place{Offset: int64(bytes.Index(data, []byte("XXXX"))), Size: rootSize}
	for name, r := range map[string]io.Reader{
		"file": open(t, path), "memory": bytes.NewReader(data), "compressed": bytes.NewReader(gzipped(t, data)), "pipe": piped(t, data),
	} {
		dir, meta, err := unpackedFrom(t, inPlace, r)
		if err != nil || meta.RootDigest != string(root.Digest) {
			t.Fatalf("%s: meta %+v, %v", name, meta, err)
		}
		size := int64(rootSize)
		if name == "file" {
			if size = 0; meta.InPlace == nil || *meta.InPlace != want {
				t.Errorf("the root is at %+v, want %+v", meta.InPlace, want)
			}
		} else if meta.InPlace != nil {
			t.Errorf("%s: the root is at %+v", name, meta.InPlace)
		}
		if info, err := os.Stat(filepath.Join(dir, artifact.RootErofs)); err != nil || info.Size() != size {
			t.Errorf("%s: the file of the root: %+v, %v, want %d bytes", name, info, err, size)
		}
		if text, err := os.ReadFile(filepath.Join(dir, artifact.File)); err != nil || strings.Contains(string(text), "inPlace") {
			t.Errorf("%s: the place is stored: %s, %v", name, text, err)
		}
	}
}

// A file that ends in the root is refused, and so is what follows a root that is too short.
func TestInPlaceCut(t *testing.T) {
	i := newImage(t)
	root := i.verityRoot(rootSize)
	i.add("amd64", i.artifact(root))
	data := i.ordered(root)
	for _, left := range []int{1, rootSize / 2, rootSize - 1} {
		path := filepath.Join(t.TempDir(), "artifact.tar")
		begin := bytes.Index(data, []byte("XXXX"))
		if err := os.WriteFile(path, data[:begin+left], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, meta, err := unpackedFrom(t, inPlace, open(t, path)); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
			t.Errorf("%d bytes of the root: %+v, %v", left, meta.InPlace, err)
		}
	}
}

// A child that has been taken over cannot name a place outside the file, or one that was not asked for.
func TestCheckPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	meta := artifact.Meta{RootDigest: "sha256:x", VerityBlocks: 1}
	for _, tt := range []struct {
		place artifact.Place
		o     Options
		file  *os.File
		good  bool
	}{
		{artifact.Place{Offset: 4096, Size: 4096}, Options{InPlace: true}, f, true},
		{artifact.Place{Offset: 4096, Size: 4096}, Options{}, f, false},
		{artifact.Place{Offset: 4096, Size: 4096}, Options{InPlace: true}, nil, false},
		{artifact.Place{Offset: 4096, Size: 4097}, Options{InPlace: true}, f, false},
		{artifact.Place{Offset: 8193, Size: 1}, Options{InPlace: true}, f, false},
		{artifact.Place{Offset: 1, Size: 1<<63 - 1}, Options{InPlace: true}, f, false},
		{artifact.Place{Offset: -1, Size: 1}, Options{InPlace: true}, f, false},
		{artifact.Place{Offset: 1}, Options{InPlace: true}, f, false},
	} {
		m := meta
		m.InPlace = &tt.place
		if err := checkPlace(m, tt.o, tt.file); (err == nil) != tt.good {
			t.Errorf("%+v with %+v: %v", tt.place, tt.o, err)
		}
	}
	if err := checkPlace(artifact.Meta{InPlace: &artifact.Place{Size: 1}}, Options{InPlace: true}, f); err == nil {
		t.Error("a root without a digest may be used in place")
	}
}

// Without a folder or an image there is nothing that the root could be copied to.
func TestInPlaceNeedsImage(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{artifact.File, configFile, runtimeFile} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, artifact.RootDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := checkFiles(dir, artifact.Meta{InPlace: &artifact.Place{Size: 1}}); err == nil {
		t.Error("a root in place may be a folder")
	}
}

// The child copies a part of a file and returns its digest. A file that has become shorter is an error.
func TestCopy(t *testing.T) {
	o := options(t)
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	var data []byte
	for n := range 300_000 {
		data = fmt.Appendf(data, "%d,", n)
	}
	for path, text := range map[string][]byte{from: data, to: []byte("an attempt before")} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	place := artifact.Place{Offset: 777, Size: int64(len(data)) - 1000}
	part := data[place.Offset : place.Offset+place.Size]
	got, err := Copy(t.Context(), o, t.TempDir(), open(t, from), place, to)
	if err != nil || got != string(digestOf(part)) {
		t.Errorf("digest %s, %v; want %s", got, err, digestOf(part))
	}
	if copied, err := os.ReadFile(to); err != nil || !bytes.Equal(copied, part) {
		t.Errorf("%d bytes were copied, %v; want %d", len(copied), err, len(part))
	}
	if err := os.Truncate(from, place.Size); err != nil {
		t.Fatal(err)
	}
	if got, err := Copy(t.Context(), o, t.TempDir(), open(t, from), place, to); err == nil || !strings.Contains(err.Error(), "the file has only") {
		t.Errorf("a file that has become shorter: %s, %v", got, err)
	}
	if err := os.Remove(to); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(from, to); err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(t.Context(), o, t.TempDir(), open(t, from), place, to); err == nil {
		t.Error("copied over a link")
	}
}
