package qemu

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kinds of firmware.
const (
	UEFI = "uefi"
	BIOS = "bios"
)

// Suffixes of the names of virtio devices that are not on PCI: without a bus, and on
// channels.
const (
	mmio = "device"
	ccw  = "ccw"
)

// kind is a machine that QEMU emulates.
type kind struct {
	arch                string
	name                string // QEMU's name, if it is not that of the table
	options, kvmOptions string // follow the name
	cpu                 string // under TCG
	virtualCPU          string // in virtual time; default: cpu
	accelOptions        string
	virtio              string // suffix of the names of virtio devices; default: pci
	usual               bool   // the default machine of its architecture
	console             string // the kernel's name of the console
	board               *board // nil for machines made for guests
	append, tcgAppend   string // kernel parameters: always, and under TCG unless time is virtual
	firmware            []string
}

// board is real hardware that QEMU emulates. Its devices are fixed; it has neither a bus for
// virtio devices nor a power button. Its disk is an SD card.
type board struct {
	memory, cpus int
	serial       []string // the serial ports before the console
}

// DefaultCPU is QEMU's default processor for amd64 with instructions for random numbers, which
// QEMU takes from the seed.
const DefaultCPU = "qemu64,+rdrand"

// machines by QEMU's names, or other names where QEMU's is not unique.
var machines = map[string]kind{
	// In virtual time QEMU's default processor: "max" has fast string instructions, so that
	// kernel and programs copy and fill memory with them, but TCG counts each byte as an
	// instruction. On a busy host too few timer interrupts arrive while the kernel tests
	// them, and it panics: no_timer_check omits that test.
	"q35": {arch: AMD64, cpu: "max", virtualCPU: DefaultCPU, usual: true, console: "ttyS0", firmware: []string{UEFI, BIOS},
		tcgAppend: " no_timer_check"},
	"pc": {arch: AMD64, cpu: "max", virtualCPU: DefaultCPU, console: "ttyS0", firmware: []string{UEFI, BIOS}, tcgAppend: " no_timer_check"},
	// With rtc alone Debian's kernel hangs, and only a triple fault can reboot. The first
	// clock is the TSC. On a busy host the kernel fails to calibrate it against the PIT and
	// hangs too; under TCG it counts nanoseconds.
	"microvm": {arch: AMD64, cpu: "max", virtualCPU: DefaultCPU, virtio: mmio, console: "ttyS0", options: ",rtc=on,pit=on,pic=on", kvmOptions: ",rtc=on,pit=on,pic=on",
		append: " reboot=t", tcgAppend: " tsc_early_khz=1000000"},
	// The same without ACPI, like Firecracker: the kernel cannot power it off.
	"microvm-no-acpi": {arch: AMD64, name: "microvm", cpu: "max", virtualCPU: DefaultCPU, virtio: mmio, console: "ttyS0", options: ",rtc=on,pit=on,pic=on,acpi=off",
		append: " reboot=t", tcgAppend: " tsc_early_khz=1000000"},
	// TCG runs the A72 faster than "max": it has neither pointer authentication nor SVE.
	"virt": {arch: ARM64, cpu: "cortex-a72", usual: true, console: "ttyAMA0", options: ",gic-version=3", kvmOptions: ",gic-version=host", firmware: []string{UEFI}},
	// ttysclp0 is the terminal; the other console shows only whole lines.
	"s390-ccw-virtio": {arch: S390X, cpu: "max", virtio: ccw, usual: true, console: "ttysclp0"},
	"riscv-virt":      {arch: RISCV, name: "virt", cpu: "rv64", usual: true, console: "ttyS0"},
	// The console is the second port: the first is wired to the Bluetooth chip. With one
	// thread each, the four processors would wait for each other's locks if the host has
	// fewer.
	"raspi3b": {arch: ARM64, cpu: "cortex-a53", accelOptions: ",thread=single", console: "ttyS1", board: &board{memory: 1024, cpus: 4, serial: []string{"null"}}},
}

// Machines returns the names of all machines.
func Machines() []string { return slices.Sorted(maps.Keys(machines)) }

// usual returns the default machine of an architecture.
func usual(arch string) string {
	for name, m := range machines {
		if m.arch == arch && m.usual {
			return name
		}
	}
	return ""
}

// machineFor returns the machine of c, by default the default one of its architecture.
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
	case (c.ErrorStore != "" || c.Watchdog) && !(m.arch == AMD64 && m.firmware != nil):
		return "", fmt.Errorf("cannot start a machine: %s has neither a store of errors nor a watchdog", c.Machine)
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

// virtio returns QEMU's name of a virtio device for c's machine.
func virtio(c Config, device string) string {
	return "virtio-" + device + "-" + cmp.Or(machines[c.Machine].virtio, "pci")
}

// uefi is UEFI firmware: its code and its initial variables.
type uefi struct{ code, variables, pkg string }

var uefis = map[string]uefi{
	AMD64: {"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd", "ovmf"},
	ARM64: {"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd", "qemu-efi-aarch64"},
}

// FirmwareFile returns a file that a machine with UEFI needs and the Debian package that has
// it.
func FirmwareFile(arch string) (file, pkg string) { return uefis[arch].code, uefis[arch].pkg }

// firmwareArgs returns the arguments for the firmware of a machine that boots from a disk.
// Changes of the variables are discarded when the machine ends.
func firmwareArgs(c Config) []string {
	if c.Firmware != UEFI {
		return nil
	}
	return []string{
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + uefis[c.Arch].code,
		"-drive", "if=pflash,unit=1,format=raw,snapshot=on,file=" + uefis[c.Arch].variables,
	}
}
