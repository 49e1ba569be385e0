package tests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/image/tree"
	"keelson/testvm/initimage"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// The image that make init-image packs gives the same root as the tree that it is made
// of, for both architectures, and boots.
func TestInitImage(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	trees := map[string]string{qemu.AMD64: guestRoot(t), qemu.ARM64: guestRootOf(t, qemu.ARM64)}
	lay := packed(t, initimage.Options{Name: "registry.example.org/keelson/init:test", Trees: trees})
	for arch, dir := range trees {
		if !bytes.Equal(rootOf(t, arch, "oci:"+lay), rootOf(t, arch, "dir:"+dir)) {
			t.Errorf("%s: the root from the image differs from the tree", arch)
		}
	}
	yaml := fmt.Sprintf("kernel: {image: %q, cmdline: \"console=ttyS0 %s\"}\ninit: [%q]\nservices:\n%s",
		vmtest.KernelOf(qemu.AMD64), network, "oci:"+lay, strings.ReplaceAll(agentService, "PAYLOAD", payload(t, qemu.AMD64)))
	v := vmtest.Boot(t, machine(t, vmtest.Image(t, "init-image", qemu.AMD64, yaml)))
	v.Stage(timeline.Ready)
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// packed returns a folder with the OCI layout of an image.
func packed(t *testing.T, o initimage.Options) string {
	t.Helper()
	var first, second bytes.Buffer
	if err := errors.Join(initimage.Write(&first, o), initimage.Write(&second, o)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two builds differ")
	}
	files, dir := tree.New(), t.TempDir()
	if err := errors.Join(files.ReadTar(&first), files.WriteDir(dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rootOf returns the initrd of an image that has only init.
func rootOf(t *testing.T, arch, init string) []byte {
	t.Helper()
	out := vmtest.Image(t, "root-"+arch, arch, fmt.Sprintf("init: [%q]\n", init))
	data, err := os.ReadFile(out.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
