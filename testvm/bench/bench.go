package bench

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"keelson/testvm/qemu"
	"keelson/testvm/vm"
)

// Seeds is the number of boots that are averaged. Each has another seed, which determines
// its random numbers and so the order of concurrent work.
const Seeds = 4

const memory = 1024 // of the machine, MiB

// runDeadline bounds one boot in real time.
const runDeadline = 10 * time.Minute

//go:embed bench.yml
var imageYAML string

// ImageYAML returns the YAML of the fixed image, with the guest's root tree at guestRoot.
func ImageYAML(guestRoot string) ([]byte, error) {
	yaml, err := around(imageYAML, guestRoot)
	return []byte(yaml), err
}

// MicroVMYAML returns the YAML of the same image on another kernel, an image of form dir:, without
// modules.
func MicroVMYAML(guestRoot, kernel string) ([]byte, error) {
	abs, err := filepath.Abs(kernel)
	if err != nil {
		return nil, fmt.Errorf("cannot find the kernel: %w", err)
	}
	const usual = "image: deb:linux-image-cloud-${ARCH}\n"
	if !strings.Contains(imageYAML, usual) {
		return nil, errors.New("cannot change the kernel of the fixed image: it names another one")
	}
	yaml, err := around(strings.Replace(imageYAML, usual, "image: dir:"+abs+"\n  tar: none\n", 1), guestRoot)
	return []byte(yaml), err
}

// around returns the YAML of an image with the guest's root tree at guestRoot.
func around(yaml, guestRoot string) (string, error) {
	abs, err := filepath.Abs(guestRoot)
	if err != nil {
		return "", fmt.Errorf("cannot find the guest's root: %w", err)
	}
	return strings.ReplaceAll(yaml, "dir:GUEST", "dir:"+abs), nil
}

// Processors are those that QEMU emulates for the benchmark. On max, whatever clears or copies
// memory counts several times as much as on qemu64, so that figures of one say nothing about
// figures of the other.
var Processors = []string{"qemu64", "max"}

// Options of a measurement.
type Options struct {
	Name, Kernel, Initrd, Append string
	Disk                         string // with the root, read-only; may be empty
	Machine                      string // of package qemu; the architecture's usual one when empty
	Processor                    string // one of Processors; the first when empty
	Seeds                        int    // Seeds when zero
	Parallel                     int    // how many boots run at once; one for each processor when zero
	Root                         string // the guest's tree, for the sizes of its programs; may be empty
}

// Measure boots an image in virtual time, once with each seed.
func Measure(ctx context.Context, o Options) (*Report, error) {
	arch, err := qemu.DetectArch(o.Kernel)
	if err != nil {
		return nil, err
	}
	report := &Report{Name: o.Name, Arch: arch, Processor: o.processor(arch), Runs: make([]Run, cmp.Or(o.Seeds, Seeds))}
	if report.Sizes, err = o.sizes(); err != nil {
		return nil, err
	}
	if report.Binaries, err = o.binaries(); err != nil {
		return nil, err
	}
	// Virtual time does not depend on the load of the host, so the boots run concurrently.
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(o.Parallel, runtime.NumCPU()))
	for i := range report.Runs {
		g.Go(func() (err error) {
			report.Runs[i], err = measureOnce(ctx, arch, o, uint32(i+1))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	report.Summarize()
	return report, nil
}

func measureOnce(ctx context.Context, arch string, o Options, seed uint32) (run Run, err error) {
	err = boot(ctx, o.machine(arch, seed), func(v *vm.VM) (err error) {
		run, err = Parse(v.Console())
		return err
	})
	return run, err
}

// processor returns the processor; empty on architectures whose machine determines it.
func (o Options) processor(arch string) string {
	if arch != qemu.AMD64 {
		return o.Processor
	}
	return cmp.Or(o.Processor, Processors[0])
}

// sizes returns the sizes of the initrd or, if the root is on a disk, that of the disk.
func (o Options) sizes() (Sizes, error) {
	if o.Disk == "" {
		return MeasureInitrd(o.Initrd)
	}
	info, err := os.Stat(o.Disk)
	if err != nil {
		return Sizes{}, fmt.Errorf("cannot measure the disk: %w", err)
	}
	return Sizes{ImagePacked: info.Size()}, nil
}

// poll keeps the processor busy while it waits for a disk, which takes the host's time: the virtual
// clock would leap to the next timer. What it waited is Run.Idle.
const poll = " idle=poll"

// machine returns a machine in virtual time.
func (o Options) machine(arch string, seed uint32) qemu.Config {
	cpu := o.processor(arch)
	if cpu == Processors[0] { // It is the usual one in virtual time, with random numbers.
		cpu = ""
	}
	c := o.config(arch)
	c.CPU, c.VirtualTime, c.Seed = cpu, true, seed
	if o.Disk != "" {
		c.Append += poll
	}
	return c
}

// config returns the machine that boots the image.
func (o Options) config(arch string) qemu.Config {
	c := qemu.Config{Arch: arch, Machine: o.Machine, Kernel: o.Kernel, Initrd: o.Initrd, Append: o.Append, Memory: memory}
	if o.Disk != "" {
		c.Disks = []qemu.Disk{{Path: o.Disk, ReadOnly: true}}
	}
	return c
}

// boot boots a machine until it powers itself down, and parses its marks.
func boot(ctx context.Context, c qemu.Config, read func(*vm.VM) error) error {
	ctx, cancel := context.WithTimeout(ctx, runDeadline)
	defer cancel()
	// The marks and the kernel's own lines must show, whatever the image says.
	c.Append = vm.ConsoleArgs(c.Append, qemu.ConsoleDevice(c.Arch)) + " loglevel=7"
	v, err := vm.Boot(ctx, vm.Config{Config: c})
	if err != nil {
		return err
	}
	defer v.Close()
	exit, err := awaitEnd(ctx, v)
	if err != nil {
		return err
	}
	if exit != vm.PoweredDown {
		return &vm.Failure{What: "measure", Err: fmt.Errorf("the guest %s", exit), Console: v.Tail(vm.FailureLines)}
	}
	if err := read(v); err != nil {
		return errors.Join(err, &vm.Failure{What: "measure", Err: errors.New("marks are missing"), Console: v.Tail(vm.FailureLines)})
	}
	return nil
}

// lastWords matches lines after which no mark can follow: the end, or keelson's message
// that a container failed.
var lastWords = regexp.MustCompile(`reboot: |keelson: \[ *[0-9.]+\] (degraded|fatal)`)

// awaitEnd waits for a guest to end, or for a failure after which it does not.
func awaitEnd(ctx context.Context, v *vm.VM) (vm.Exit, error) {
	line, err := v.WaitConsole(ctx, lastWords)
	if err != nil {
		return vm.Hung, err
	}
	if !strings.Contains(line, "reboot: ") {
		return vm.Hung, &vm.Failure{What: "measure", Err: errors.New("a container failed"), Console: v.Tail(vm.FailureLines)}
	}
	return v.WaitExit(ctx)
}
