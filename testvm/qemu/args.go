package qemu

import (
	"fmt"
	"strconv"
	"strings"
)

// Numbers under which QEMU finds the sockets it was started with.
const (
	consoleFD = 3 + iota
	qmpFD
	agentFD
)

// Program is the QEMU binary for an architecture, and Package the Debian
// package that brings it.
func Program(arch string) (program, pkg string) {
	if arch == ARM64 {
		return "qemu-system-aarch64", "qemu-system-arm"
	}
	return "qemu-system-x86_64", "qemu-system-x86"
}

// ConsoleDevice is the kernel's name of the console the machine shows.
func ConsoleDevice(arch string) string {
	if arch == ARM64 {
		return "ttyAMA0"
	}
	return "ttyS0"
}

// Args is the command line of a machine whose Config is complete.
func Args(c Config) []string {
	args := []string{"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"}
	args = append(args, machineArgs(c)...)
	args = append(args, "-m", strconv.Itoa(c.Memory)+"M", "-smp", strconv.Itoa(c.CPUs), "-kernel", c.Kernel)
	if c.Initrd != "" {
		args = append(args, "-initrd", c.Initrd)
	}
	args = append(args, "-append", c.Append,
		"-chardev", consoleArg(c), "-serial", "chardev:console",
		"-chardev", socket("qmp", qmpFD), "-mon", "chardev=qmp,mode=control")
	if !c.VirtualTime {
		// These answer in the host's time, which virtual time must not depend on.
		args = append(args, guestChannels()...)
		if c.VirtConsole != "" {
			args = append(args, "-chardev", "file,id=hvc,path="+strings.ReplaceAll(c.VirtConsole, ",", ",,"), "-device", "virtconsole,chardev=hvc")
		}
		args = append(args, powerButton(c.Arch)...)
		args = append(args, netArgs(c.Publish)...)
	}
	return append(args, diskArgs(c.Disks)...)
}

// guestChannels are the agent's port and a source of random numbers.
func guestChannels() []string {
	return []string{
		"-chardev", socket("agent", agentFD), "-device", "virtio-serial-pci",
		"-device", "virtserialport,chardev=agent,name=" + AgentPort,
		"-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
	}
}

func consoleArg(c Config) string {
	if c.VirtualTime {
		return fmt.Sprintf("file,id=console,path=/dev/fd/%d", consoleFD)
	}
	return socket("console", consoleFD)
}

// powerButton is a keyboard with a power key, where the machine's own button is
// of no use: that of "virt" is on a GPIO line, for which kernels made for
// clouds have no driver.
func powerButton(arch string) []string {
	if arch == ARM64 {
		return []string{"-device", "virtio-keyboard-pci"}
	}
	return nil
}

func socket(id string, fd int) string {
	return fmt.Sprintf("socket,id=%s,fd=%d", id, fd)
}

func machineArgs(c Config) []string {
	machine, cpu := "q35", "max"
	if c.Arch == ARM64 {
		// TCG runs the A72 quicker than "max": it has no pointer
		// authentication and no SVE to emulate.
		machine, cpu = "virt,gic-version=3", "cortex-a72"
	}
	if c.Accel == KVM {
		cpu = "host"
		if c.Arch == ARM64 {
			machine = "virt,gic-version=host"
		}
	}
	args := []string{"-M", machine, "-accel", c.Accel, "-cpu", cpu}
	if c.VirtualTime {
		// The seed fixes what the guest takes for random numbers.
		args = append(args, "-icount", "shift=0,sleep=off", "-seed", strconv.FormatUint(uint64(c.Seed), 10), "-rtc", "base=2026-01-01T00:00:00,clock=vm")
	}
	return args
}

func netArgs(forwards []Forward) []string {
	var dev strings.Builder
	dev.WriteString("user,id=net0")
	for _, f := range forwards {
		proto := f.Protocol
		if proto == "" {
			proto = "tcp"
		}
		fmt.Fprintf(&dev, ",hostfwd=%s:127.0.0.1:%d-:%d", proto, f.Host, f.Guest)
	}
	// Without a ROM the card cannot boot from the network, which nobody asks of it.
	return []string{"-netdev", dev.String(), "-device", "virtio-net-pci,netdev=net0,romfile="}
}

func diskArgs(disks []Disk) []string {
	var args []string
	for i, d := range disks {
		id := "disk" + strconv.Itoa(i)
		format := d.Format
		if format == "" {
			format = "raw"
		}
		drive := fmt.Sprintf("if=none,id=%s,format=%s,file=%s", id, format, strings.ReplaceAll(d.Path, ",", ",,"))
		device := "virtio-blk-pci,drive=" + id
		if d.Bus == "nvme" {
			device = "nvme,drive=" + id + ",serial=" + id
		}
		if d.ReadOnly {
			drive += ",readonly=on"
		}
		args = append(args, "-drive", drive, "-device", device)
	}
	return args
}
