package vmtest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/pierrec/lz4/v4"

	"keelson/testvm/qemu"
	"keelson/testvm/vm"
)

// kernels holds the files of unpacked kernels by the digests of the packed ones; empty for those
// of another format.
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

// unpacked returns the file of an unpacked kernel, or the one that is packed if it has another
// format.
func unpacked(t testing.TB, path string) string {
	t.Helper()
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return cmp.Or(kernels.Get(fmt.Sprintf("%x", sha256.Sum256(image)), func() string {
		kernel, err := unpackKernel(image)
		if errors.Is(err, errNotLZ4) {
			return ""
		}
		if err != nil {
			t.Fatalf("cannot unpack %s: %v", path, err)
		}
		f, err := os.CreateTemp(Folder(t, "kernels"), "vmlinux-")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(kernel); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}), path)
}

var errNotLZ4 = errors.New("its payload is not compressed with LZ4")

// unpackKernel returns the ELF file in an image of an x86 kernel that is compressed with LZ4.
// QEMU starts it by the entry for PVH (CONFIG_PVH).
//
// Source: the kernel's Documentation/arch/x86/boot.rst, fields setup_sects, payload_offset
// and payload_length. The payload ends with its unpacked size.
func unpackKernel(image []byte) ([]byte, error) {
	const (
		setupSectors, mark     = 0x1f1, 0x202
		payloadAt, payloadSize = 0x248, 0x24c
		headerSize             = payloadSize + 4
		lengthSize             = 4
	)
	if len(image) < headerSize || !bytes.Equal(image[mark:mark+4], []byte("HdrS")) {
		return nil, errors.New("not an image of an x86 kernel")
	}
	at := func(offset int) uint64 { return uint64(binary.LittleEndian.Uint32(image[offset:])) }
	begin := (uint64(image[setupSectors])+1)*512 + at(payloadAt)
	end := begin + at(payloadSize)
	if end < begin+lengthSize || end > uint64(len(image)) {
		return nil, errors.New("its payload is outside of the file")
	}
	if payload := image[begin:end]; !bytes.HasPrefix(payload, []byte("\x02\x21\x4c\x18")) {
		return nil, errNotLZ4
	}
	size := binary.LittleEndian.Uint32(image[end-lengthSize:])
	kernel, err := io.ReadAll(io.LimitReader(lz4.NewReader(bytes.NewReader(image[begin:end-lengthSize])), int64(size)+1))
	if err != nil {
		return nil, fmt.Errorf("its payload is damaged: %w", err)
	}
	if len(kernel) != int(size) || !bytes.HasPrefix(kernel, []byte("\x7fELF")) {
		return nil, fmt.Errorf("its payload is not an ELF file of %d bytes", size)
	}
	return kernel, nil
}
