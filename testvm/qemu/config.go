package qemu

import (
	"errors"
	"fmt"
	"os"
)

// Architectures of machines, in Go's spelling.
const (
	AMD64 = "amd64"
	ARM64 = "arm64"
	RISCV = "riscv64"
	S390X = "s390x"
)

// Accelerators. An empty one in a Config lets Accelerator decide.
const (
	KVM = "kvm"
	TCG = "tcg"
)

// AgentPort is the name of the virtio-serial port connected with Machine.Agent.
const AgentPort = "org.keelson.agent.0"

// Config describes a machine.
type Config struct {
	Arch    string // amd64, arm64, riscv64 or s390x; found in the kernel when empty
	Machine string // one of Machines; the architecture's usual one when empty
	Accel   string // kvm or tcg; decided by Accelerator when empty
	// Firmware boots from the first disk: UEFI or BIOS. When empty the machine
	// starts Kernel itself.
	Firmware string
	Kernel   string // file; with Firmware it is only used to probe KVM
	Initrd   string // file, may be empty
	DTB      string // file with a board's device tree; empty for machines that generate theirs
	Append   string // kernel command line
	Memory   int    // MiB, 1024 if zero; ignored for a board
	CPU      string // QEMU's name of the processor under TCG; the machine's usual one when empty
	CPUs     int    // 2 if zero; ignored for a board
	// Room reserves slots for a CPU and memory to plug while the machine runs.
	Room    bool
	Disks   []Disk
	Publish []Forward
	Ports   []Port
	// VirtualTime runs one nanosecond per guest instruction on one CPU under
	// TCG, so that a measurement does not depend on the host. Such a machine
	// has no network and no agent, and its console takes no input: two runs of
	// one Seed, from which all random numbers come, are the same to the
	// instruction.
	VirtualTime bool
	// RTC is the initial time of the hardware clock, YYYY-MM-DDTHH:MM:SS in UTC; the
	// host's time if empty.
	RTC string
	// ErrorStore is a file of 64 KiB, made if it is missing, for the firmware's store of errors
	// (ACPI ERST), in which the kernel keeps its last words over a reset. Empty for none; only
	// for q35 and pc.
	ErrorStore string
	// Watchdog adds a watchdog, Intel's 6300ESB, and lets the guest reboot: it does not end
	// with a reset. Only for q35 and pc.
	Watchdog bool
	// OwnButton has the power button of the machine itself pressed where Powerdown would use a key: on arm64 it is
	// on a GPIO line, for which generic kernels have a driver.
	OwnButton bool
	// VirtConsole is a file for the output of a second console, hvc0. Empty for none.
	VirtConsole string
	Seed        uint32
}

// Disk is a block device backed by a file.
type Disk struct {
	Path     string
	Size     int64  // bytes; a missing file is made with this size (sparse)
	Format   string // raw (default), qcow2, …
	Bus      string // one of Buses; virtio when empty
	ReadOnly bool
	// Log is a file for a log of every write and flush of this run, in the format of
	// dm-log-writes, for package powercut. Flushes are not passed to the host. Empty for
	// none; only on the virtio bus.
	Log string
}

// Port is a virtio-serial port that programs of the host open at a Unix socket, one at a time.
type Port struct {
	Name string // of the port in the guest
	Path string // of the socket, which QEMU makes
}

// Forward forwards a port of the host's loopback address to a port of the guest. A zero
// Host port is replaced by a free one when the machine starts.
type Forward struct {
	Protocol    string // tcp (default) or udp
	Host, Guest int
}

// withDefaults sets defaults and refuses invalid combinations.
func (c Config) withDefaults() (Config, error) {
	if c.Kernel == "" && c.Firmware == "" {
		return c, errors.New("cannot start a machine: no kernel given")
	}
	if c.Arch == "" && c.Kernel != "" {
		arch, err := DetectArch(c.Kernel)
		if err != nil {
			return c, err
		}
		c.Arch = arch
	}
	if usual(c.Arch) == "" {
		return c, fmt.Errorf("cannot start a machine: unknown architecture %q: use amd64, arm64, riscv64 or s390x", c.Arch)
	}
	if c.Memory == 0 {
		c.Memory = 1024
	}
	if c.CPUs == 0 {
		c.CPUs = 2
	}
	if c.VirtualTime {
		c.CPUs, c.Accel = 1, TCG
	}
	var err error
	if c.Machine, err = machineFor(c); err != nil {
		return c, err
	}
	if b := machines[c.Machine].board; b != nil {
		c.Memory, c.CPUs, c.Accel = b.memory, b.cpus, TCG
	}
	return c, c.findFiles()
}

// findFiles returns an error if a file that c names does not exist.
func (c Config) findFiles() error {
	for _, f := range []string{c.Kernel, c.Initrd, c.DTB} {
		if f == "" {
			continue
		}
		if _, err := os.Stat(f); err != nil {
			return fmt.Errorf("cannot start a machine: %w", err)
		}
	}
	if file, pkg := FirmwareFile(c.Arch); c.Firmware == UEFI {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("cannot start a machine: UEFI firmware %s is missing (Debian package %s)", file, pkg)
		}
	}
	return nil
}
