package qemu

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Firmware that a machine can start with.
const (
	UEFI = "uefi"
	BIOS = "bios"
)

// kind is a machine that QEMU emulates.
type kind struct {
	arch                string
	options, kvmOptions string // after its name
	cpu                 string // under TCG
	mmio                bool   // virtio devices are not on PCI
	usual               bool   // of its architecture
	// What a kernel must be told, always and under TCG.
	append, tcgAppend string
	firmware          []string
}

// machines by QEMU's names.
var machines = map[string]kind{
	"q35": {arch: AMD64, cpu: "max", usual: true, firmware: []string{UEFI, BIOS}},
	"pc":  {arch: AMD64, cpu: "max", firmware: []string{UEFI, BIOS}},
	// With rtc alone Debian's kernel hangs, and a triple fault is the only way to
	// reboot. Its only clock at first is the TSC, which it measures against the
	// PIT in vain when the host is busy and then hangs too: QEMU's counts
	// nanoseconds under TCG.
	"microvm": {arch: AMD64, cpu: "max", mmio: true, options: ",rtc=on,pit=on,pic=on", kvmOptions: ",rtc=on,pit=on,pic=on",
		append: " reboot=t", tcgAppend: " tsc_early_khz=1000000"},
	// TCG runs the A72 quicker than "max": it has no pointer authentication and
	// no SVE to emulate.
	"virt": {arch: ARM64, cpu: "cortex-a72", usual: true, options: ",gic-version=3", kvmOptions: ",gic-version=host", firmware: []string{UEFI}},
}

// Machines are the names of all machines.
func Machines() []string { return slices.Sorted(maps.Keys(machines)) }

// machineFor is the machine of c, by default its architecture's usual one.
func machineFor(c Config) (string, error) {
	if c.Machine == "" {
		for name, m := range machines {
			if m.arch == c.Arch && m.usual {
				c.Machine = name
			}
		}
	}
	m, ok := machines[c.Machine]
	switch {
	case !ok:
		return "", fmt.Errorf("cannot start a machine: there is no machine %q: choose of %s", c.Machine, strings.Join(Machines(), ", "))
	case m.arch != c.Arch:
		return "", fmt.Errorf("cannot start a machine: %s is for %s, not for %s", c.Machine, m.arch, c.Arch)
	case c.Firmware != "" && !slices.Contains(m.firmware, c.Firmware):
		return "", fmt.Errorf("cannot start a machine: %s has no firmware of kind %q", c.Machine, c.Firmware)
	case c.Firmware != "" && len(c.Disks) == 0:
		return "", fmt.Errorf("cannot start a machine: no disk to boot from")
	}
	return c.Machine, checkBuses(c)
}

func checkBuses(c Config) error {
	for _, d := range c.Disks {
		if machines[c.Machine].mmio && d.Bus != "" && d.Bus != "virtio" {
			return fmt.Errorf("cannot start a machine: %s has no bus for a disk on %s", c.Machine, d.Bus)
		}
		if d.Bus != "" && !slices.Contains(Buses, d.Bus) {
			return fmt.Errorf("cannot start a machine: bus %q is none of %s", d.Bus, strings.Join(Buses, ", "))
		}
	}
	return nil
}

// virtio is QEMU's name of a virtio device for c's machine.
func virtio(c Config, device string) string {
	if machines[c.Machine].mmio {
		return "virtio-" + device + "-device"
	}
	return "virtio-" + device + "-pci"
}

// uefi is UEFI firmware: its code, and the variables it starts with.
type uefi struct{ code, variables, pkg string }

var uefis = map[string]uefi{
	AMD64: {"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd", "ovmf"},
	ARM64: {"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd", "qemu-efi-aarch64"},
}

// FirmwareFile is a file that a machine with UEFI needs, and the Debian package
// that brings it.
func FirmwareFile(arch string) (file, pkg string) { return uefis[arch].code, uefis[arch].pkg }

// firmwareArgs are those of a machine that boots from a disk. What the guest
// writes to the variables goes with the machine.
func firmwareArgs(c Config) []string {
	if c.Firmware != UEFI {
		return nil
	}
	return []string{
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + uefis[c.Arch].code,
		"-drive", "if=pflash,unit=1,format=raw,snapshot=on,file=" + uefis[c.Arch].variables,
	}
}
