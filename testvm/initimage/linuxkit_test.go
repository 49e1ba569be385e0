package initimage

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"keelson/testvm/image"
)

// LinuxKit's cache is an OCI layout. The test imports the archive into it and finds the image
// of a YAML file in it with the library that LinuxKit uses.
func TestImport(t *testing.T) {
	cache, err := layout.Write(t.TempDir(), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := importArchive(cache, archive(t)); err != nil {
		t.Fatal(err)
	}
	top, err := cache.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	found, err := partial.FindIndexes(top, match.Name(ref))
	if err != nil || len(found) != 1 {
		t.Fatalf("%d indexes with the name %s in the cache, %v", len(found), ref, err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		images, err := partial.FindImages(found[0], func(d v1.Descriptor) bool {
			return d.Platform != nil && d.Platform.OS == "linux" && d.Platform.Architecture == arch
		})
		if err != nil || len(images) == 0 {
			t.Fatalf("no image for %s, %v", arch, err)
		}
		checkFiles(t, images[0], arch)
	}
}

// importArchive copies the blobs and adds the named descriptors of index.json.
func importArchive(cache layout.Path, data []byte) error {
	tr := tar.NewReader(bytes.NewReader(data))
	var top *v1.IndexManifest
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		hex, isBlob := strings.CutPrefix(h.Name, "blobs/sha256/")
		switch {
		case h.Typeflag == tar.TypeDir || h.Name == "oci-layout":
		case h.Name == "index.json":
			top, err = v1.ParseIndexManifest(tr)
		case isBlob:
			err = cache.WriteBlob(v1.Hash{Algorithm: "sha256", Hex: hex}, io.NopCloser(tr))
		default:
			err = fmt.Errorf("the importer does not know what %s is", h.Name)
		}
		if err != nil {
			return err
		}
	}
	if top == nil {
		return errors.New("there is no index.json")
	}
	for _, d := range top.Manifests {
		name := d.Annotations["io.containerd.image.name"]
		if name == "" || name != d.Annotations["org.opencontainers.image.ref.name"] {
			return fmt.Errorf("names of the entry: %v", d.Annotations)
		}
		if err := cache.AppendDescriptor(d); err != nil {
			return err
		}
	}
	return nil
}

// An image built with the layout has the root of one built with the tree.
func TestBuilder(t *testing.T) {
	dir, lay := guest(t, "amd64"), unpacked(t, archive(t))
	want := initrd(t, "dir:"+dir)
	for _, source := range []string{"oci:" + lay, "oci:" + lay + ":" + ref} {
		if got := initrd(t, source); !bytes.Equal(got, want) {
			t.Errorf("the root from %s differs from that of the tree", source)
		}
	}
}

// initrd returns the root that the builder makes of an image in the init section.
func initrd(t *testing.T, source string) []byte {
	t.Helper()
	out, err := image.Build(t.Context(), image.Options{YAML: fmt.Appendf(nil, "init: [%q]\n", source),
		File: filepath.Join(t.TempDir(), "a.yml"), Arch: "amd64", CacheDir: t.TempDir(), OutDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
