package format

import "fmt"

// Machines that QEMU emulates.
const (
	Q35      = "q35"        // PC with PCI Express
	PC       = "pc"         // PC with an i440FX chipset
	MicroVM  = "microvm"    // amd64 without PCI and firmware tables
	Virt     = "virt"       // arm64
	Raspi3B  = "raspi3b"    // Raspberry Pi 3B
	RISCVirt = "riscv-virt" // QEMU's virt of riscv64
	S390CCW  = "s390-ccw-virtio"
)

// Buses that a disk can be on.
const (
	Virtio = "virtio"
	NVMe   = "nvme"
	SATA   = "sata"
	IDE    = "ide"
	USB    = "usb"
	SD     = "sd"
	CDROM  = "cdrom"
)

// boot is a way to boot a format that a test covers.
type boot struct {
	arch, machine, bus string
	often              bool
}

// Boot is a combination of architecture, machine and bus that a format supports.
type Boot struct {
	Format             Format
	Arch, Machine, Bus string // Bus is empty without a disk
	Often              bool   // tested by make test, not only by make test-all
}

// String names it, as in "raw-efi/arm64/virt/nvme".
func (b Boot) String() string {
	s := fmt.Sprintf("%s/%s/%s", b.Format.Name, b.Arch, b.Machine)
	if b.Bus != "" {
		s += "/" + b.Bus
	}
	return s
}

// Boots returns all supported combinations.
func Boots() []Boot {
	var out []Boot
	for _, f := range Table {
		for _, b := range f.boots {
			out = append(out, Boot{Format: f, Arch: b.arch, Machine: b.machine, Bus: b.bus, Often: b.often})
		}
	}
	return out
}
