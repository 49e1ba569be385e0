package pid1

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"keelson/init/cmdline"
)

// powerFacts are what decides whether the kernel can power the machine off.
// Nothing in /proc or /sys says it: reboot(2) halts when it cannot
// (kernel_can_power_off() in kernel/reboot.c).
type powerFacts struct {
	arch    string
	virtual bool // a hypervisor runs this machine
	handler bool // firmware, a device tree or a hypervisor may bring a way to power off
}

// powerHandlers are there when something may have registered a way to power off
// on a PC: ACPI, a device tree, Xen, APM, EFI.
var powerHandlers = []string{"sys/firmware/acpi", "sys/firmware/devicetree", "sys/hypervisor/type", "proc/apm", "sys/firmware/efi"}

func lookAtPower(root string) powerFacts {
	info, _ := os.ReadFile(filepath.Join(root, "proc/cpuinfo"))
	f := powerFacts{arch: runtime.GOARCH, virtual: bytes.Contains(info, []byte(" hypervisor"))}
	if _, err := os.Stat(filepath.Join(root, "sys/kernel")); err != nil {
		f.handler = true // Without /sys there is no telling.
	}
	for _, path := range powerHandlers {
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			f.handler = true
		}
	}
	return f
}

// cannot reports whether power-off only halts: in a virtual PC without ACPI,
// such as QEMU's microvm or Firecracker. On hardware a reset would start the
// machine again, and on other architectures the kernel has too many ways to
// power off to rule them all out: there it is left to the kernel.
func (f powerFacts) cannot() bool {
	return f.arch == "amd64" && f.virtual && !f.handler
}

// last is the action that ends the machine for a: that itself, or a reset where
// power-off would leave a virtual machine halted for ever. keelson.poweroff=
// overrides it.
func last(a action, line cmdline.Line, facts func() powerFacts) (action, string) {
	if a != powerOff {
		return a, ""
	}
	value, given := line.Last("keelson.poweroff")
	switch {
	case value == "off":
		return a, ""
	case value == "reset":
		return reboot, "keelson.poweroff=reset: the machine is reset in place of powered off"
	case facts().cannot():
		return reboot, "cannot power off: the kernel has no ACPI. The machine is reset, which ends a microVM; keelson.poweroff=off halts it instead"
	case given:
		return a, fmt.Sprintf("setting ignored: keelson.poweroff=%s: want off or reset", value)
	}
	return a, ""
}
