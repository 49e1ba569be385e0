package kernel

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"keelson/runtime/cmdline"
)

// powerFacts decide whether the kernel can power the machine off. No file in /proc or
// /sys contains the answer: reboot(2) halts if it cannot power off
// (kernel_can_power_off() in kernel/reboot.c).
type powerFacts struct {
	arch    string
	virtual bool // the machine is virtual
	handler bool // firmware, a device tree or a hypervisor may be able to power off
}

// powerHandlers are files that exist if ACPI, a device tree, Xen, APM or EFI may have
// registered a way to power a PC off.
var powerHandlers = []string{"sys/firmware/acpi", "sys/firmware/devicetree", "sys/hypervisor/type", "proc/apm", "sys/firmware/efi"}

func readPowerFacts(root string) powerFacts {
	info, _ := os.ReadFile(filepath.Join(root, "proc/cpuinfo"))
	f := powerFacts{arch: runtime.GOARCH, virtual: bytes.Contains(info, []byte(" hypervisor"))}
	if _, err := os.Stat(filepath.Join(root, "sys/kernel")); err != nil {
		f.handler = true // Without /sys, assume that it can.
	}
	for _, path := range powerHandlers {
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			f.handler = true
		}
	}
	return f
}

// cannot reports whether power-off only halts the machine: in a virtual PC without ACPI,
// such as QEMU's microvm or Firecracker. On hardware, a reset would start the machine
// again, and on other architectures the kernel has too many ways to power off to rule
// all of them out; in these cases the kernel decides.
func (f powerFacts) cannot() bool {
	return f.arch == "amd64" && f.virtual && !f.handler
}

// ResetForPowerOff reports whether the machine is to be reset at power-off, and why: a
// power-off would leave some virtual machines halted forever. keelson.poweroff= on the
// command line overrides the decision. why without reset is a warning about a value that
// is ignored.
func ResetForPowerOff(line cmdline.Line) (reset bool, why string) {
	return resetForPowerOff(line, func() powerFacts { return readPowerFacts("/") })
}

func resetForPowerOff(line cmdline.Line, facts func() powerFacts) (reset bool, why string) {
	value, given := line.Last("keelson.poweroff")
	switch {
	case value == "off":
		return false, ""
	case value == "reset":
		return true, "keelson.poweroff=reset: the machine is reset instead of powered off"
	case facts().cannot():
		return true, "cannot power off: the kernel has no ACPI. The machine is reset, which ends a microVM; keelson.poweroff=off halts it instead"
	case given:
		return false, fmt.Sprintf("setting ignored: keelson.poweroff=%s: want off or reset", value)
	}
	return false, ""
}
