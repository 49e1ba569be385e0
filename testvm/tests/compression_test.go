package tests

import (
	"os"
	"path/filepath"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

// The smallest example boots with each compression of the initrd.
func TestMinimal(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	root := guestRoot(t)
	file := filepath.Join(vmtest.Repository(t), "examples/minimal.yml")
	yaml, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range image.Compressions() {
		t.Run(c, func(t *testing.T) {
			if c != image.Fast {
				tier.Long(t) // The best takes a minute to pack; the images of most tests are not compressed.
			}
			out, err := image.Build(vmtest.Context(t), image.Options{YAML: yaml, File: file, Compression: c, GuestRoot: root, OutDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			if size := sizeOf(t, []string{out.Kernel, out.Initrd}); c == image.Best && size > 26e6 {
				t.Errorf("kernel and initrd have %d bytes, want at most 26 MB", size)
			}
			v := vmtest.Boot(t, machine(t, out))
			v.Stage(timeline.Ready)
			if err := v.PowerOff(vmtest.Context(t)); err != nil {
				t.Fatal(err)
			}
		})
	}
}
