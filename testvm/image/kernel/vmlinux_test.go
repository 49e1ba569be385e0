package kernel

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os/exec"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"keelson/testvm/image/kernel/kerneltest"
	"keelson/testvm/tier"
)

func TestVmlinux(t *testing.T) {
	want := kerneltest.Vmlinux("CONFIG_EROFS_FS=y\n# CONFIG_PCI is not set\nCONFIG_VIRTIO_BLK=m\n", true)
	pack := func(open func(w io.Writer) io.WriteCloser) []byte {
		var b bytes.Buffer
		z := open(&b)
		_, err := z.Write(want)
		if err := errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, image := range map[string][]byte{
		"vmlinux": want,
		"plain":   kerneltest.BzImage(want, len(want)),
		"gzip":    kerneltest.BzImage(pack(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }), len(want)),
		"zstd": kerneltest.BzImage(pack(func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		}), len(want)),
		"lz4": kerneltest.BzImage(pack(func(w io.Writer) io.WriteCloser {
			z := lz4.NewWriter(w)
			if err := z.Apply(lz4.LegacyOption(true)); err != nil {
				t.Fatal(err)
			}
			return z
		}), len(want)),
	} {
		got, err := Vmlinux(image)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if !HasPVH(want) || HasPVH(kerneltest.Vmlinux("", false)) || HasPVH([]byte("kernel")) {
		t.Error("the note of the PVH entry point is not found where it is, or found where it is not")
	}
	settings, err := Settings(want)
	if err != nil || settings["EROFS_FS"] != "y" || settings["VIRTIO_BLK"] != "m" || settings["PCI"] != "" {
		t.Errorf("settings: %v, %v", settings, err)
	}
	if settings, err := Settings(kerneltest.Vmlinux("", true)); settings != nil || err != nil {
		t.Errorf("without a configuration: %v, %v", settings, err)
	}
}

// The kernel's build compresses with a filter for x86.
func TestVmlinuxXZ(t *testing.T) {
	if _, err := exec.LookPath("xz"); err != nil {
		tier.Skip(t, "needs xz (Debian package xz-utils)")
	}
	want := kerneltest.Vmlinux("", true)
	cmd := exec.Command("xz", "--check=crc32", "--x86", "--lzma2", "--stdout")
	cmd.Stdin = bytes.NewReader(want)
	payload, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Vmlinux(kerneltest.BzImage(payload, len(want))); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestNoVmlinux(t *testing.T) {
	arm := kerneltest.Vmlinux("", true)
	arm[0x12] = 183
	plain := kerneltest.Vmlinux("", true)
	cut := kerneltest.BzImage(plain, len(plain))
	for name, image := range map[string][]byte{
		"empty": nil, "text": []byte("kernel"), "arm64": arm, "cut": cut[:len(cut)-100], "short": cut[:0x240],
		"unknown compression": kerneltest.BzImage([]byte("0123456789"), 10), "no kernel": kerneltest.BzImage([]byte("\x7fELF and more"), 13),
		"longer": kerneltest.BzImage(plain, len(plain)-1), "shorter": kerneltest.BzImage(plain, len(plain)+1),
	} {
		if got, err := Vmlinux(image); err == nil {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
}

func FuzzVmlinux(f *testing.F) {
	f.Add(kerneltest.Vmlinux("CONFIG_A=y\n", true))
	f.Add(kerneltest.BzImage(kerneltest.Vmlinux("CONFIG_A=y\n", true), 4096))
	f.Fuzz(func(t *testing.T, image []byte) {
		if bytes.Contains(image, []byte("7zXZ")) {
			return // A program of the host reads it.
		}
		vmlinux, err := Vmlinux(image)
		if err != nil {
			return
		}
		HasPVH(vmlinux)
		_, _ = Settings(vmlinux)
	})
}
