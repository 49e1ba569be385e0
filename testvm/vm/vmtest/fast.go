package vmtest

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"testing"

	"keelson/testvm/image/kernel"
	"keelson/testvm/qemu"
	"keelson/testvm/vm"
)

// kernels holds the files of unpacked kernels by the digests of the packed ones; empty for
// files that are none.
var kernels Shared[string]

// Fast returns a machine that boots the same system with less work for TCG: it has QEMU's
// default processor, and without firmware a kernel that is unpacked on the host, not in the
// machine, and that does not test its ciphers. Only machines of amd64 change. Tests of loaders and of boot times do not use it.
func Fast(t testing.TB, c vm.Config) vm.Config {
	t.Helper()
	if c.Arch != qemu.AMD64 {
		return c
	}
	c.CPU = qemu.DefaultCPU
	if c.Firmware == "" {
		c.Kernel = unpacked(t, c.Kernel)
		c.Append += " cryptomgr.notests"
	}
	return c
}

// unpacked returns the file of an unpacked kernel, which QEMU starts by the entry for PVH, or the
// same file if it is none of Linux.
func unpacked(t testing.TB, path string) string {
	t.Helper()
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return cmp.Or(kernels.Get(fmt.Sprintf("%x", sha256.Sum256(image)), func() string {
		unpacked, err := kernel.Vmlinux(image)
		if errors.Is(err, kernel.ErrNoVmlinux) {
			return ""
		}
		if err != nil {
			t.Fatalf("cannot unpack %s: %v", path, err)
		}
		f, err := os.CreateTemp(Folder(t, "kernels"), "vmlinux-")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(unpacked); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}), path)
}
