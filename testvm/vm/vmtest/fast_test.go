package vmtest

import (
	"bytes"
	"os"
	"testing"

	"keelson/testvm/qemu"
	"keelson/testvm/vm"
)

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
