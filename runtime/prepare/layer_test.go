package prepare

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
)

// The files of a bundle are those of the image: without what a container writes, and without mounts.
func TestLayer(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"rootfs", "lower", "a:b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root, lower := filepath.Join(dir, "rootfs"), filepath.Join(dir, "lower")
	for name, tt := range map[string]struct {
		change func(b *bundle.Bundle)
		want   string
	}{
		"folder": {func(*bundle.Bundle) {}, root},
		"bound": {func(b *bundle.Bundle) {
			b.Runtime.Mounts = []bundle.Mount{{Source: root, Destination: root, Options: []string{"bind"}}}
		}, root},
		"writable": {func(b *bundle.Bundle) {
			b.Runtime.Mounts = []bundle.Mount{{Type: "overlay", Source: "overlay", Destination: root, Options: []string{"lowerdir=" + lower, "upperdir=/u", "workdir=/w"}}}
		}, lower},
		"other mounts": {func(b *bundle.Bundle) { b.Runtime.Mounts = []bundle.Mount{{Type: "tmpfs", Destination: "tmp"}} }, root},
		"own users":    {func(b *bundle.Bundle) { b.Settings.Userns = bundle.UsernsAuto; b.FirstID = 1 << 20 }, root},
		"colon":        {func(b *bundle.Bundle) { b.Spec = &specs.Spec{Root: &specs.Root{Path: "a:b"}} }, filepath.Join(dir, `a\:b`)},
		"disk": {func(b *bundle.Bundle) {
			b.Runtime.Mounts = []bundle.Mount{{Type: "ext4", Source: "/dev/vda", Destination: root}}
		}, ""},
		"image":   {func(b *bundle.Bundle) { b.Image = &bundle.Image{} }, ""},
		"missing": {func(b *bundle.Bundle) { b.Spec = &specs.Spec{Root: &specs.Root{Path: "none"}} }, ""},
	} {
		b := &bundle.Bundle{Name: "x", Dir: dir, Spec: &specs.Spec{Root: &specs.Root{Path: "rootfs"}}}
		tt.change(b)
		if got, err := Layer(b); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
