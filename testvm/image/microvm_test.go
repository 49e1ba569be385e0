package image

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/testvm/image/format"
	"keelson/testvm/image/kernel/kerneltest"
	"keelson/testvm/image/tree"
)

// microVMConfig is the configuration of a kernel that can mount a microVM's root.
const microVMConfig = "CONFIG_EROFS_FS=y\nCONFIG_VIRTIO_BLK=y\nCONFIG_VIRTIO_MMIO=y\n"

// A kernel that cannot start or mount a microVM's root is refused, with what it lacks.
func TestMicroVMKernels(t *testing.T) {
	needTools(t, format.AMD64)
	dir := small(t)
	for name, c := range map[string]struct {
		kernel []byte
		want   string
	}{
		"text":          {[]byte(strings.Repeat("kernel", 1000)), "neither vmlinux of amd64 nor a bzImage"},
		"no PVH":        {kerneltest.Vmlinux(microVMConfig, false), "CONFIG_PVH"},
		"no setting":    {kerneltest.Vmlinux("", true), "CONFIG_IKCONFIG"},
		"no erofs":      {kerneltest.Vmlinux(strings.Replace(microVMConfig, "CONFIG_EROFS_FS=y", "# CONFIG_EROFS_FS is not set", 1), true), "lacks CONFIG_EROFS_FS,"},
		"module absent": {kerneltest.Vmlinux(strings.Replace(microVMConfig, "BLK=y", "BLK=m", 1), true), "lacks CONFIG_VIRTIO_BLK,"},
	} {
		if err := os.WriteFile(filepath.Join(dir, "vmlinuz"), c.kernel, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Build(t.Context(), options(dir, t.TempDir(), format.AMD64, format.MicroVMs))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "a.yml:2: kernel.image") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A kernel with all drivers needs no initrd, and an image has the whole command line.
func TestMicroVM(t *testing.T) {
	needTools(t, format.AMD64)
	dir := small(t)
	vmlinux := kerneltest.Vmlinux(microVMConfig, true)
	if err := os.WriteFile(filepath.Join(dir, "vmlinuz"), kerneltest.BzImage(vmlinux, len(vmlinux)), 0o644); err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int64{}
	for _, compression := range []string{Best, Fast} {
		o := options(dir, t.TempDir(), format.AMD64, format.MicroVMs)
		o.Compression = compression
		out, err := Build(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Files) != 3 || out.File("-microvm-initrd.img") != "" {
			t.Errorf("files: %q", out.Files)
		}
		line, err := os.ReadFile(out.File("-microvm-cmdline"))
		if want := "console=ttyS0 quiet rootfstype=erofs ro root=/dev/vda init=/init cryptomgr.notests"; string(line) != want || err != nil {
			t.Errorf("command line %q, %v; want %q", line, err, want)
		}
		if k, err := os.ReadFile(out.File("-microvm-kernel")); err != nil || !bytes.Equal(k, vmlinux) {
			t.Errorf("the kernel is not the one in the bzImage: %d bytes, %v", len(k), err)
		}
		info, err := os.Stat(out.File("-microvm.img"))
		if err != nil {
			t.Fatal(err)
		}
		sizes[compression] = info.Size()
	}
	if sizes[Best] >= sizes[Fast] {
		t.Errorf("with and without compression: %v", sizes)
	}
}

// Drivers that are modules make an initrd necessary.
func TestRootDrivers(t *testing.T) {
	root := tree.New()
	root.Set(tree.Entry{Path: "lib/modules/6.1/modules.dep", Type: tree.File, Data: []byte("kernel/fs/erofs/erofs.ko:\nkernel/drivers/virtio/virtio_mmio.ko:\n")})
	root.Set(tree.Entry{Path: "lib/modules/6.1/modules.builtin", Type: tree.File, Data: []byte("kernel/drivers/block/virtio_blk.ko\n")})
	if modular, err := rootDrivers(kerneltest.Vmlinux("", true), root); err != nil || !modular {
		t.Errorf("by depmod's tables: %v, %v", modular, err)
	}
	if modular, err := rootDrivers(kerneltest.Vmlinux(microVMConfig, true), root); err != nil || modular {
		t.Errorf("by the configuration: %v, %v", modular, err)
	}
}

func TestMicroVMCmdline(t *testing.T) {
	for line, want := range map[string]string{
		"":                       "rootfstype=erofs ro root=/dev/vda init=/init quiet cryptomgr.notests",
		"console=hvc0 fips=1":    "console=hvc0 fips=1 rootfstype=erofs ro root=/dev/vda init=/init quiet",
		"root=/dev/pmem0 quiet":  "root=/dev/pmem0 quiet init=/init cryptomgr.notests",
		"init=/sbin/other quiet": "init=/sbin/other quiet rootfstype=erofs ro root=/dev/vda cryptomgr.notests",
	} {
		if got := microVMCmdline(line, "erofs"); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}
