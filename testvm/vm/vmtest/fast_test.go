package vmtest

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"

	"keelson/testvm/qemu"
	"keelson/testvm/vm"
)

// bzImage returns an image of a kernel with 2 sectors of setup code, of which pack makes the
// payload.
func bzImage(t *testing.T, pack func(kernel []byte) []byte) []byte {
	t.Helper()
	payload := pack(append([]byte("\x7fELF"), bytes.Repeat([]byte("kernel"), 100_000)...))
	image := make([]byte, 3*512+16)
	image[0x1f1] = 2
	copy(image[0x202:], "HdrS")
	binary.LittleEndian.PutUint32(image[0x248:], 16)
	binary.LittleEndian.PutUint32(image[0x24c:], uint32(len(payload)))
	return append(append(image, payload...), "signature"...)
}

// packed returns a payload as the kernel's build makes it.
func packed(t *testing.T, size int) func([]byte) []byte {
	return func(kernel []byte) []byte {
		t.Helper()
		var b bytes.Buffer
		w := lz4.NewWriter(&b)
		if err := w.Apply(lz4.LegacyOption(true)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(kernel); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return binary.LittleEndian.AppendUint32(b.Bytes(), uint32(len(kernel)+size))
	}
}

func TestUnpackKernel(t *testing.T) {
	good := bzImage(t, packed(t, 0))
	kernel, err := unpackKernel(good)
	if err != nil || len(kernel) != 600_004 || !bytes.HasSuffix(kernel, []byte("kernelkernel")) {
		t.Errorf("%d bytes, %v", len(kernel), err)
	}
	outside := bytes.Clone(good)
	binary.LittleEndian.PutUint32(outside[0x24c:], 1<<31)
	for want, image := range map[string][]byte{
		"not an image of an x86 kernel": good[:0x24f],
		"outside of the file":           outside,
		errNotLZ4.Error():               bzImage(t, func(kernel []byte) []byte { return kernel }),
		"damaged":                       bzImage(t, func(kernel []byte) []byte { return packed(t, 0)(kernel)[:100] }),
		"ELF file of 600005 bytes":      bzImage(t, packed(t, 1)),
		"ELF file of 600003 bytes":      bzImage(t, packed(t, -1)),
		"ELF file":                      bzImage(t, func([]byte) []byte { return packed(t, 0)([]byte("text")) }),
	} {
		if kernel, err := unpackKernel(image); err == nil || kernel != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d bytes, %v", want, len(kernel), err)
		}
	}
}

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// The kernel of the tests is unpacked once, and another architecture's is left alone.
func TestFast(t *testing.T) {
	t.Parallel()
	c := Tiny(t, "poweroff")
	if c.CPU != qemu.DefaultCPU {
		t.Errorf("the processor is %q", c.CPU)
	}
	head, err := os.ReadFile(c.Kernel)
	if err != nil || !bytes.HasPrefix(head, []byte("\x7fELF")) {
		t.Errorf("%s is not unpacked (%v)", c.Kernel, err)
	}
	other := vm.Config{Config: qemu.Config{Arch: qemu.ARM64, Kernel: "/none"}}
	if got := Fast(t, other); got.Kernel != "/none" || got.CPU != "" {
		t.Errorf("%+v", got)
	}
	Boot(t, c).Exit(vm.PoweredDown)
}
