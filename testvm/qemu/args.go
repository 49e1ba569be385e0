package qemu

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// File descriptors of the sockets that QEMU inherits.
const (
	consoleFD = 3 + iota
	qmpFD
	agentFD
)

// Program returns the QEMU binary for an architecture and the Debian package that has it.
func Program(arch string) (program, pkg string) {
	switch arch {
	case ARM64:
		return "qemu-system-aarch64", "qemu-system-arm"
	case S390X:
		return "qemu-system-s390x", "qemu-system-misc"
	case RISCV:
		return "qemu-system-riscv64", "qemu-system-misc"
	}
	return "qemu-system-x86_64", "qemu-system-x86"
}

// ConsoleDevice returns the kernel's name of the console of an architecture's default
// machine.
func ConsoleDevice(arch string) string { return machines[usual(arch)].console }

// ConsoleOf returns the kernel's name of the console of c's machine.
func ConsoleOf(c Config) string { return machines[cmp.Or(c.Machine, usual(c.Arch))].console }

// Args returns QEMU's command line for a complete Config.
func Args(c Config) []string {
	args := []string{"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"}
	args = append(args, machineArgs(c)...)
	memory, cpus := strconv.Itoa(c.Memory)+"M", strconv.Itoa(c.CPUs)
	if c.Room {
		memory += fmt.Sprintf(",slots=1,maxmem=%dM", 2*c.Memory)
		cpus += fmt.Sprintf(",maxcpus=%d", c.CPUs+1)
	}
	args = append(args, "-m", memory, "-smp", cpus)
	args = append(args, startArgs(c)...)
	args = append(args, serialArgs(c)...)
	args = append(args, "-chardev", socket("qmp", qmpFD), "-mon", "chardev=qmp,mode=control")
	if !c.VirtualTime && machines[c.Machine].board == nil {
		// These devices use the host's time, on which virtual time must not depend.
		args = append(args, guestChannels(c)...)
		if c.VirtConsole != "" {
			args = append(args, "-chardev", "file,id=hvc,path="+escape(c.VirtConsole), "-device", "virtconsole,chardev=hvc")
		}
		args = append(args, powerButton(c)...)
		args = append(args, netArgs(c)...)
	}
	if c.ErrorStore != "" {
		args = append(args, "-object", "memory-backend-file,id=erst,size=64K,share=on,mem-path="+escape(c.ErrorStore), "-device", "acpi-erst,memdev=erst")
	}
	if c.Watchdog {
		args = append(args, "-device", "i6300esb", "-action", "watchdog=reset,reboot=reset") // In place of -no-reboot.
	}
	return append(args, diskArgs(c)...)
}

// escape quotes a path for a list of values separated by commas.
func escape(path string) string { return strings.ReplaceAll(path, ",", ",,") }

// startArgs returns the arguments for the kernel or firmware that the machine starts.
func startArgs(c Config) []string {
	if c.Firmware != "" {
		return firmwareArgs(c)
	}
	args := []string{"-kernel", c.Kernel}
	if c.Initrd != "" {
		args = append(args, "-initrd", c.Initrd)
	}
	if c.DTB != "" {
		args = append(args, "-dtb", c.DTB)
	}
	m := machines[c.Machine]
	line := c.Append + m.append
	if c.Accel == TCG && !c.VirtualTime {
		line += m.tcgAppend
	}
	return append(args, "-append", line)
}

// guestChannels returns the arguments for the agent's port, other ports and a source of random
// numbers.
func guestChannels(c Config) []string {
	args := []string{
		"-chardev", socket("agent", agentFD), "-device", virtio(c, "serial"),
		"-device", "virtserialport,chardev=agent,name=" + AgentPort,
		"-object", "rng-random,id=rng,filename=/dev/urandom", "-device", virtio(c, "rng") + ",rng=rng",
	}
	for i, port := range c.Ports {
		id := fmt.Sprintf("port%d", i)
		args = append(args, "-chardev", "socket,id="+id+",path="+escape(port.Path)+",server=on,wait=off",
			"-device", "virtserialport,chardev="+id+",name="+port.Name)
	}
	return args
}

// serialArgs returns the arguments for the console and the serial ports before it.
func serialArgs(c Config) []string {
	var args []string
	if b := machines[c.Machine].board; b != nil {
		for _, port := range b.serial {
			args = append(args, "-serial", port)
		}
	}
	return append(args, "-chardev", consoleArg(c), "-serial", "chardev:console")
}

func consoleArg(c Config) string {
	if c.VirtualTime {
		return fmt.Sprintf("file,id=console,path=/dev/fd/%d", consoleFD)
	}
	return socket("console", consoleFD)
}

// keyButton reports whether the power button of a machine cannot be used: that of arm64's "virt" is on
// a GPIO line, for which cloud kernels have no driver; riscv64's has none.
func keyButton(c Config) bool { return c.Arch == ARM64 && !c.OwnButton || c.Arch == RISCV }

// powerButton returns a keyboard with a power key for these architectures.
func powerButton(c Config) []string {
	if keyButton(c) {
		return []string{"-device", virtio(c, "keyboard")}
	}
	return nil
}

func socket(id string, fd int) string {
	return fmt.Sprintf("socket,id=%s,fd=%d", id, fd)
}

// virtualStart is the start of virtual time: later than the build of any image, but not so
// late that an image distrusts it.
const virtualStart = "2030-01-01T00:00:00"

func machineArgs(c Config) []string {
	m := machines[c.Machine]
	options, cpu := m.options, cmp.Or(c.CPU, m.cpu)
	switch {
	case c.Accel == KVM:
		options, cpu = m.kvmOptions, "host"
	case c.VirtualTime:
		cpu = cmp.Or(c.CPU, m.virtualCPU, m.cpu)
	}
	args := []string{"-M", cmp.Or(m.name, c.Machine) + options, "-accel", c.Accel + m.accelOptions, "-cpu", cpu}
	if c.VirtualTime {
		// The seed determines the guest's random numbers.
		args = append(args, "-icount", "shift=0,sleep=off", "-seed", strconv.FormatUint(uint64(c.Seed), 10), "-rtc", "base="+cmp.Or(c.RTC, virtualStart)+",clock=vm")
	} else if c.RTC != "" {
		args = append(args, "-rtc", "base="+c.RTC)
	}
	return args
}

func netArgs(c Config) []string {
	var dev strings.Builder
	dev.WriteString("user,id=net0")
	for _, f := range c.Publish {
		proto := f.Protocol
		if proto == "" {
			proto = "tcp"
		}
		fmt.Fprintf(&dev, ",hostfwd=%s:127.0.0.1:%d-:%d", proto, f.Host, f.Guest)
	}
	card := virtio(c, "net") + ",netdev=net0"
	if machines[c.Machine].virtio == "" {
		card += ",romfile=" // The card needs no ROM, which only serves to boot from the network.
	}
	return []string{"-netdev", dev.String(), "-device", card}
}
