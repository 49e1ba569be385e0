package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/testvm/image/disk"
	"keelson/testvm/image/format"
	"keelson/testvm/tier"
)

// The first partition of a card has the files that the firmware needs; given files replace
// generated ones. The second has an empty file system. QEMU accepts the size of the card.
func TestRPi(t *testing.T) {
	tier.Tool(t, "mkfs.fat", "dosfstools")
	tier.Tool(t, "mcopy", "mtools")
	tier.Tool(t, "mke2fs", "e2fsprogs")
	dir, out := small(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "firmware/CMDLINE.TXT"), []byte("given"), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := Build(t.Context(), options(dir, out, format.ARM64, format.RPi))
	if err != nil {
		t.Fatal(err)
	}
	card := o.File("-rpi.img")
	kernel, err := os.ReadFile(filepath.Join(dir, "vmlinuz"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"bcm2837-rpi-3-b.dtb": "tree", "bootcode.bin": "boot", "cmdline.txt": "given", "kernel8.img": string(kernel)}
	for name, text := range want {
		if err := disk.Unpack(card, out, name); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != text {
			t.Errorf("%s holds %.20q, %v", name, got, err)
		}
	}
	if err := disk.Unpack(card, out, "config.txt", "overlays/none"); err == nil {
		t.Error("a file that is not there is unpacked")
	}
	config, err := os.ReadFile(filepath.Join(out, "config.txt"))
	if err != nil || !strings.Contains(string(config), "initramfs initrd.img followkernel\n") {
		t.Errorf("config.txt: %s, %v", config, err)
	}
	checkData(t, card, runner(t))
	info, err := os.Stat(card)
	if err != nil || info.Size()&(info.Size()-1) != 0 {
		t.Errorf("the card is %d bytes long, %v", info.Size(), err)
	}
}
