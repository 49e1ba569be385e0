package staging

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"keelson/runtime/artifact"
)

func FuzzUnpack(f *testing.F) {
	i := newImage(f)
	i.add("amd64", i.artifact(i.layer(file("bin/x", "text"), symlink("l", "../.."))))
	f.Add(i.tar())
	f.Add(zstandard(f, i.tar()))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzed(t, data) })
}

// FuzzLayer and FuzzIndex change a part that digests protect in the whole archive.
func FuzzLayer(f *testing.F) {
	f.Add(pack(f, folder("./"), file("bin/x", "text"), symlink("l", "../.."), hardLink("h", "bin/x")))
	f.Add(pack(f, file("a/.wh..wh..opq", ""), file("a/.wh.b", ""), entry{Header: tar.Header{Name: "d", Typeflag: tar.TypeBlock}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		i := newImage(t)
		i.add("amd64", i.artifact(i.layer(symlink("l", "/")), i.blob(v1.MediaTypeImageLayer, data)))
		fuzzed(t, i.tar())
	})
}

func FuzzIndex(f *testing.F) {
	i := newImage(f)
	d := i.add("amd64", i.artifact(i.layer(file("x", "text"))))
	index, _ := json.Marshal(i.index)
	f.Add(index, i.blobs[d.Digest.Encoded()])
	f.Fuzz(func(t *testing.T, index, manifest []byte) {
		i := newImage(t)
		i.artifact(i.layer(file("x", "text")))
		i.blob(v1.MediaTypeImageManifest, manifest)
		members := i.members()
		members = slices.DeleteFunc(members, func(e entry) bool { return e.Name == "./index.json" })
		fuzzed(t, pack(t, append(members, file("index.json", string(index)))...))
	})
}

// FuzzImage changes the configuration of a plain container image, which a digest protects in
// the whole archive, and the name of the image.
func FuzzImage(f *testing.F) {
	f.Add([]byte(`{"os":"linux","architecture":"amd64","config":{"Cmd":["x"],"Labels":{"a":"b"}}}`), "example/web:v1")
	f.Add([]byte(`{"os":"linux","architecture":"amd64","created":"2026-01-02T03:04:05+23:59","config":{"Env":null}}`), "")
	f.Add([]byte(`{"OS":"linux","Architecture":"amd64","config":[]}`), "a b")
	f.Fuzz(func(t *testing.T, config []byte, name string) {
		i := newImage(t)
		m := i.plain("amd64", i.layer(file("x", "text")))
		m.Config = i.blob(v1.MediaTypeImageConfig, config)
		i.add("amd64", m)
		i.index.Manifests[0].Annotations = map[string]string{artifact.NameKey: name}
		fuzzed(t, i.tar())
	})
}

// fuzzed unpacks data beside a file that must stay as it is.
func fuzzed(t *testing.T, data []byte) {
	parent := t.TempDir()
	if err := os.Mkdir(filepath.Join(parent, "staging"), 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(parent, "staging"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s := settings{Architecture: "amd64", MaxSize: 1 << 20}
	if meta, err := unpack(root, bytes.NewReader(data), s); err == nil {
		if err := errors.Join(checkMeta(meta, "amd64"), checkFiles(root.Name(), meta)); err != nil {
			t.Error(err)
		}
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
		t.Errorf("the folder above has %v, %v", entries, err)
	}
}
