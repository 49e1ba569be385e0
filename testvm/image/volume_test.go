package image

import (
	"slices"
	"strings"
	"testing"
)

// A volume of format oci holds the image, not its files.
func TestVolumeOfOCI(t *testing.T) {
	dir := t.TempDir()
	project(t, dir)
	o, err := Build(t.Context(), Options{Arch: "amd64", File: dir + "/a.yml", CacheDir: dir + "/cache", OutDir: dir, YAML: []byte(`
init: ["dir:guest-${ARCH}"]
volumes:
  - {name: images, image: "oci:layout", format: oci, platforms: [linux/amd64]}
services:
  - name: user
    image: oci:layout
    command: [/app]
    binds: ["images:/images:ro"]
`)})
	if err != nil {
		t.Fatal(err)
	}
	const base = "containers/volumes/images/"
	all := names(t, read(t, o.Initrd))
	for _, name := range []string{"lower/index.json", "lower/oci-layout", "merged", "tmp"} {
		if !slices.Contains(all, base+name) {
			t.Errorf("%s is missing: %v", name, all)
		}
	}
	blobs := 0
	for _, name := range all {
		if strings.HasPrefix(name, base+"lower/blobs/sha256/") {
			blobs++
		}
		if strings.HasPrefix(name, base+"lower/etc") {
			t.Errorf("%s is not of the layout", name)
		}
	}
	if blobs != 2 { // manifest and configuration: the image has no layers
		t.Errorf("%d blobs: %v", blobs, all)
	}
}
