package qemu

import (
	"cmp"
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

// Ends of the names of virtio devices that are not on PCI: on no bus, and on
// channels.
const (
	mmio = "device"
	ccw  = "ccw"
)

// kind is a machine that QEMU emulates.
type kind struct {
	arch                string
	name                string // QEMU's, where that of the table is another
	options, kvmOptions string // after its name
	cpu                 string // under TCG
	virtualCPU          string // in virtual time, when it is another
	accelOptions        string
	virtio              string // end of the names of virtio devices; pci when empty
	usual               bool   // of its architecture
	console             string // the kernel's name of the one that is shown
	board               *board // nil for machines made for guests
	// What a kernel must be told, always and under TCG.
	append, tcgAppend string
	firmware          []string
}

// board is real hardware that QEMU emulates: it has what it has, and neither a
// bus for virtio devices nor a power button. Its disk is an SD card.
type board struct {
	memory, cpus int
	serial       []string // ports before the console's
}

// usual64 is QEMU's usual processor, with instructions for random numbers, which
// come from the seed.
const usual64 = "qemu64,+rdrand"

// machines by QEMU's names, or others where QEMU uses one twice.
var machines = map[string]kind{
	// In virtual time QEMU's usual processor: "max" says of itself that it copies
	// and fills memory fast by bytes, each of which TCG counts as an instruction.
	"q35": {arch: AMD64, cpu: "max", virtualCPU: usual64, usual: true, console: "ttyS0", firmware: []string{UEFI, BIOS}},
	"pc":  {arch: AMD64, cpu: "max", virtualCPU: usual64, console: "ttyS0", firmware: []string{UEFI, BIOS}},
	// With rtc alone Debian's kernel hangs, and a triple fault is the only way to
	// reboot. Its only clock at first is the TSC, which it measures against the
	// PIT in vain when the host is busy and then hangs too: QEMU's counts
	// nanoseconds under TCG.
	"microvm": {arch: AMD64, cpu: "max", virtualCPU: usual64, virtio: mmio, console: "ttyS0", options: ",rtc=on,pit=on,pic=on", kvmOptions: ",rtc=on,pit=on,pic=on",
		append: " reboot=t", tcgAppend: " tsc_early_khz=1000000"},
	// The same without ACPI, as Firecracker is: its kernel cannot power it off.
	"microvm-no-acpi": {arch: AMD64, name: "microvm", cpu: "max", virtualCPU: usual64, virtio: mmio, console: "ttyS0", options: ",rtc=on,pit=on,pic=on,acpi=off",
		append: " reboot=t", tcgAppend: " tsc_early_khz=1000000"},
	// TCG runs the A72 quicker than "max": it has no pointer authentication and
	// no SVE to emulate.
	"virt": {arch: ARM64, cpu: "cortex-a72", usual: true, console: "ttyAMA0", options: ",gic-version=3", kvmOptions: ",gic-version=host", firmware: []string{UEFI}},
	// ttysclp0 is the terminal; the other console shows lines only.
	"s390-ccw-virtio": {arch: S390X, cpu: "max", virtio: ccw, usual: true, console: "ttysclp0"},
	"riscv-virt":      {arch: RISCV, name: "virt", cpu: "rv64", usual: true, console: "ttyS0"},
	// The console is the second port: the first is wired to the Bluetooth chip. In
	// threads of their own its four processors would wait for each other's locks
	// whenever the host has fewer to spare.
	"raspi3b": {arch: ARM64, cpu: "cortex-a53", accelOptions: ",thread=single", console: "ttyS1", board: &board{memory: 1024, cpus: 4, serial: []string{"null"}}},
}

// Machines are the names of all machines.
func Machines() []string { return slices.Sorted(maps.Keys(machines)) }

// usual is an architecture's usual machine.
func usual(arch string) string {
	for name, m := range machines {
		if m.arch == arch && m.usual {
			return name
		}
	}
	return ""
}

// machineFor is the machine of c, by default its architecture's usual one.
func machineFor(c Config) (string, error) {
	c.Machine = cmp.Or(c.Machine, usual(c.Arch))
	m, ok := machines[c.Machine]
	switch {
	case !ok:
		return "", fmt.Errorf("cannot start a machine: there is no machine %q: use one of %s", c.Machine, strings.Join(Machines(), ", "))
	case m.arch != c.Arch:
		return "", fmt.Errorf("cannot start a machine: %s is for %s, not for %s", c.Machine, m.arch, c.Arch)
	case c.Firmware != "" && !slices.Contains(m.firmware, c.Firmware):
		return "", fmt.Errorf("cannot start a machine: %s has no firmware of kind %q", c.Machine, c.Firmware)
	case c.Firmware != "" && len(c.Disks) == 0:
		return "", fmt.Errorf("cannot start a machine: no disk to boot from")
	case m.board != nil && (c.VirtualTime || len(c.Publish) > 0 || c.VirtConsole != "" || c.Accel == KVM):
		return "", fmt.Errorf("cannot start a machine: %s has no virtual time, published ports, second console or KVM", c.Machine)
	}
	return c.Machine, checkBuses(c)
}

func checkBuses(c Config) error {
	m := machines[c.Machine]
	for i, d := range c.Disks {
		if m.virtio != "" && d.Bus != "" && d.Bus != "virtio" || m.board != nil && (d.Bus != "sd" || i > 0) {
			return fmt.Errorf("cannot start a machine: %s has no bus for a disk on %s", c.Machine, cmp.Or(d.Bus, "virtio"))
		}
		if d.Bus != "" && !slices.Contains(Buses, d.Bus) {
			return fmt.Errorf("cannot start a machine: bus %q is none of %s", d.Bus, strings.Join(Buses, ", "))
		}
	}
	return nil
}

// virtio is QEMU's name of a virtio device for c's machine.
func virtio(c Config, device string) string {
	return "virtio-" + device + "-" + cmp.Or(machines[c.Machine].virtio, "pci")
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
