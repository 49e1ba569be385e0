package qemu

import (
	"errors"
	"fmt"
	"os"
)

// Architectures a machine can have, in Go's spelling.
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

// AgentPort is the name of the virtio-serial port that leads to Machine.Agent.
const AgentPort = "org.keelson.agent.0"

// Config describes a machine.
type Config struct {
	Arch    string // amd64, arm64, riscv64 or s390x; found in the kernel when empty
	Machine string // one of Machines; the architecture's usual one when empty
	Accel   string // kvm or tcg; decided by Accelerator when empty
	// Firmware boots from the first disk: UEFI or BIOS. When empty the machine
	// starts Kernel itself.
	Firmware string
	Kernel   string // file; with Firmware only tried when Accel is decided
	Initrd   string // file, may be empty
	DTB      string // file with a board's device tree; empty for machines that bring theirs
	Append   string // kernel command line
	Memory   int    // MiB, 1024 when zero; a board has what it has
	CPUs     int    // 2 when zero; likewise
	// Room is for a CPU and memory to be plugged while the machine runs.
	Room    bool
	Disks   []Disk
	Publish []Forward
	// VirtualTime runs one nanosecond per guest instruction on one CPU under
	// TCG, so that a measurement does not depend on the host. Such a machine
	// has no network and no agent, and its console takes no input: two runs of
	// one Seed, from which all random numbers come, are the same to the
	// instruction.
	VirtualTime bool
	// RTC is what the hardware clock says at the start, YYYY-MM-DDTHH:MM:SS in
	// UTC; the host's time when empty.
	RTC string
	// VirtConsole is a file that gets what the guest prints on a second
	// console, hvc0. Empty for none.
	VirtConsole string
	Seed        uint32
}

// Disk is a block device backed by a file.
type Disk struct {
	Path     string
	Size     int64  // bytes; a missing file is made this long (sparse)
	Format   string // raw (default), qcow2, …
	Bus      string // one of Buses; virtio when empty
	ReadOnly bool
	// Log is a file that gets every write and flush of this run, in the format
	// of dm-log-writes; it is for package powercut. The host is not told to
	// flush. Empty for none; on the virtio bus alone.
	Log string
}

// Forward leads a port of the host's loopback address to a port of the guest.
// A zero Host port is replaced by a free one when the machine starts.
type Forward struct {
	Protocol    string // tcp (default) or udp
	Host, Guest int
}

// withDefaults fills what was left out and refuses what cannot work.
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
		return c, fmt.Errorf("cannot start a machine: there is none of architecture %q: amd64, arm64, riscv64 or s390x", c.Arch)
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

// findFiles wants all files that are named.
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
