package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"keelson/testvm/qemu"
	"keelson/testvm/vm"
	"keelson/testvm/vm/session"
)

type runCmd struct {
	Image    string        `arg:"" optional:"" help:"A folder that keelson build wrote to, the prefix of an image in it, or one of its files."`
	Format   string        `help:"Format of the image to boot, if there are several: ${formats}." placeholder:"FORMAT"`
	Machine  string        `help:"One of ${machines}; by default the image's machine, or q35, virt, riscv-virt or s390-ccw-virtio." placeholder:"MACHINE"`
	Bus      string        `help:"Bus of the image's disk: ${buses}; by default virtio, for an ISO cdrom." placeholder:"BUS"`
	Kernel   string        `help:"Kernel file, instead of the image's." placeholder:"FILE"`
	Initrd   string        `help:"Initial RAM disk, instead of the image's." placeholder:"FILE"`
	Append   *string       `help:"Kernel command line, instead of the image's." placeholder:"TEXT"`
	Arch     string        `help:"amd64, arm64, riscv64 or s390x; by default the kernel's." placeholder:"ARCH"`
	Accel    string        `help:"kvm or tcg; by default kvm if it works (TESTVM_ACCEL does the same)." placeholder:"ACCEL"`
	Memory   string        `help:"Memory, as in 512M or 2G; a bare number is MiB." default:"1024M"`
	CPUs     int           `name:"cpus" help:"Number of processors." default:"2"`
	Publish  []string      `help:"Forward a port of the host's loopback address to the guest." placeholder:"HOST:GUEST[/udp]"`
	Port     []string      `help:"Virtio-serial port of the guest, and the Unix socket at which programs of the host open it." placeholder:"NAME=SOCKET"`
	Disk     []string      `help:"Disk; made if missing and a size is given. Options: size, format, bus=BUS, readonly." placeholder:"FILE[,size=1G]…" sep:"none"`
	Until    string        `help:"Run unattended: ready (print the steps of the boot, power off) or shutdown. By default ready if there is no terminal." placeholder:"ready|shutdown"`
	Timeline string        `help:"Draw the steps of the boot to a picture (SVG), as service timeline does." placeholder:"FILE"`
	Timeout  time.Duration `help:"Time limit of an unattended guest." default:"5m"`
}

// Run boots an image.
func (c *runCmd) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "keelson-") // for files unpacked from disks
	if err != nil {
		return fmt.Errorf("cannot run: %w", err)
	}
	defer os.RemoveAll(dir)
	config, err := c.config(dir)
	if err != nil {
		return err
	}
	switch c.Until {
	case "", session.UntilReady, session.UntilShutdown:
	default:
		return fmt.Errorf("cannot run until %q: neither ready nor shutdown", c.Until)
	}
	return session.Run(ctx, session.Options{VM: vm.Config{Config: config}, Until: c.Until, Timeline: c.Timeline,
		Timeout: c.Timeout, Stdin: os.Stdin, Stdout: os.Stdout})
}

// config returns the machine that the flags describe.
func (c *runCmd) config(dir string) (qemu.Config, error) {
	image, err := c.image(dir)
	if err != nil {
		return qemu.Config{}, err
	}
	q := image.Machine(qemu.Config{Accel: c.Accel, Machine: c.Machine, CPUs: c.CPUs}, c.Bus)
	if q.Arch, err = archOf(image, c.Arch); err != nil {
		return q, err
	}
	q.Append = vm.ConsoleArgs(q.Append, qemu.ConsoleOf(q))
	if q.Accel != "" && q.Accel != qemu.KVM && q.Accel != qemu.TCG {
		return q, fmt.Errorf("cannot use accelerator %q: neither kvm nor tcg", q.Accel)
	}
	if q.Memory, err = mebibytes(c.Memory); err != nil {
		return q, err
	}
	return q, c.connect(&q)
}

// connect adds ports and disks.
func (c *runCmd) connect(q *qemu.Config) error {
	for _, s := range c.Publish {
		f, err := qemu.ParseForward(s)
		if err != nil {
			return err
		}
		q.Publish = append(q.Publish, f)
	}
	for _, s := range c.Port {
		name, path, ok := strings.Cut(s, "=")
		if !ok || name == "" || path == "" || strings.Contains(name, ",") {
			return fmt.Errorf("cannot use port %q: want NAME=SOCKET", s)
		}
		q.Ports = append(q.Ports, qemu.Port{Name: name, Path: path})
	}
	for _, s := range c.Disk {
		d, err := qemu.ParseDisk(s)
		if err != nil {
			return err
		}
		q.Disks = append(q.Disks, d)
	}
	return nil
}

// image returns the image named, with the files that flags replace.
func (c *runCmd) image(dir string) (session.Image, error) {
	var image session.Image
	if c.Image == "" && c.Kernel == "" {
		return image, errors.New("cannot run: name an image, or give --kernel")
	}
	if c.Image != "" {
		var err error
		if image, err = session.Find(c.Image, c.Format); err != nil {
			return image, err
		}
		if image, err = image.Unpack(dir); err != nil {
			return image, err
		}
	}
	if c.Kernel != "" {
		image.Kernel = c.Kernel
	}
	if c.Initrd != "" {
		image.Initrd = c.Initrd
	}
	if c.Append != nil {
		image.Cmdline = *c.Append
	}
	return image, nil
}

// archOf returns the image's architecture, or an error if it is not the one asked for. A
// disk in QEMU's format is taken to be for the host's.
func archOf(image session.Image, want string) (string, error) {
	found, err := image.Arch()
	switch {
	case err != nil && want != "":
		return want, nil
	case err != nil || found == want || want == "" && found != "":
		return found, err
	case found == "" && want == "":
		return runtime.GOARCH, nil
	case found == "":
		return want, nil
	}
	return "", fmt.Errorf("cannot run %s on %s: it is for %s", cmp.Or(image.Kernel, image.Disk), want, found)
}

// mebibytes reads an amount of memory.
func mebibytes(s string) (int, error) {
	if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil && n > 0 {
		return n, nil
	}
	n, err := units.RAMInBytes(s)
	if err != nil || n < 1<<20 {
		return 0, fmt.Errorf("cannot use %q as an amount of memory: want something like 512M or 2G", s)
	}
	return int(n >> 20), nil
}
