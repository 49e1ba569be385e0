package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"keelson/testvm/bench"
	"keelson/testvm/image"
	"keelson/testvm/image/format"
	"keelson/testvm/qemu"
)

type benchCmd struct {
	Kernel    string   `help:"Measure this kernel in place of the fixed image." placeholder:"FILE"`
	Initrd    string   `help:"Initial RAM disk that goes with it; its containers must write the marks described in docs/testing.md." placeholder:"FILE"`
	Append    string   `help:"Kernel command line that goes with it." placeholder:"TEXT"`
	Name      string   `help:"Name of the report." default:"keelson"`
	Processor []string `help:"Processors that QEMU emulates, on each of which the image is measured: ${enum}." enum:"${processors}" default:"${processors}"`
	Output    string   `short:"o" help:"Folder for the reports NAME.json, NAME-max.json and the image." default:"build/bench" placeholder:"DIR"`
	Wall      bool     `help:"Measure by the wall clock, under KVM where that works, instead of in virtual time: the images in turn."`
	Rounds    int      `help:"With --wall: how often each image is booted." default:"5"`
	MicroVM   string   `name:"microvm-kernel" help:"Folder with the kernel of the microVM profile (make microvm-kernel). If it exists, the fixed image is also measured as a microVM." default:"build/microvm-kernel/image" placeholder:"DIR"`
	Root      string   `help:"Guest root tree of the fixed image." default:"build/amd64/root" placeholder:"DIR"`
	Peer      struct {
		Kernel string `help:"Kernel of another init, which is measured in the same run; its containers must write the same marks." placeholder:"FILE"`
		Initrd string `help:"Initial RAM disk that goes with it." placeholder:"FILE"`
		Append string `help:"Kernel command line that goes with it." placeholder:"TEXT"`
		Name   string `help:"Name of the other init." default:"peer"`
	} `embed:"" prefix:"peer-"`
}

// Run measures an image on each processor and prints the reports.
func (c *benchCmd) Run(ctx context.Context) error {
	o := bench.Options{Name: c.Name, Kernel: c.Kernel, Initrd: c.Initrd, Append: c.Append}
	if (c.Kernel == "") != (c.Initrd == "") {
		return errors.New("cannot measure: --kernel and --initrd go together")
	}
	if (c.Peer.Kernel == "") != (c.Peer.Initrd == "") {
		return errors.New("cannot measure: --peer-kernel and --peer-initrd go together")
	}
	if c.Peer.Kernel != "" && c.Peer.Name == c.Name {
		return fmt.Errorf("cannot measure: --name and --peer-name are both %q", c.Name)
	}
	if c.Wall {
		return c.wall(ctx, o)
	}
	var startup bench.Options
	fixed := c.Kernel == ""
	if fixed {
		var err error
		if o, err = buildBench(ctx, c.Root, c.Name, c.Output, bench.ImageYAML); err != nil {
			return err
		}
		if startup, err = buildBench(ctx, c.Root, "startup", c.Output, bench.StartupYAML); err != nil {
			return err
		}
	}
	var beside []bench.Beside
	for i, processor := range slices.Compact(c.Processor) {
		o.Processor = processor
		own, err := measure(ctx, o)
		if err != nil {
			return err
		}
		reference := bench.Stock
		if c.Peer.Kernel != "" {
			peer, err := measure(ctx, bench.Options{Name: c.Peer.Name, Kernel: c.Peer.Kernel, Initrd: c.Peer.Initrd,
				Append: c.Peer.Append, Processor: processor})
			if err != nil {
				return err
			}
			beside = append(beside, bench.Beside{Peer: peer, Own: own})
			if err := c.write(peer); err != nil {
				return err
			}
			reference = peer.Reference()
		}
		if fixed && i == 0 {
			if err := c.more(ctx, own, startup, reference); err != nil {
				return err
			}
		}
		if err := c.write(own); err != nil {
			return err
		}
		if fixed {
			if err := c.microVM(ctx, processor); err != nil {
				return err
			}
		}
	}
	bench.WriteBeside(os.Stdout, beside)
	return nil
}

// wall measures all images by the wall clock.
func (c *benchCmd) wall(ctx context.Context, own bench.Options) error {
	var err error
	if c.Kernel == "" {
		if own, err = buildBench(ctx, c.Root, c.Name, c.Output, bench.ImageYAML); err != nil {
			return err
		}
	}
	images := []bench.Options{own}
	if c.Kernel == "" && c.hasMicroVM() {
		micro, err := c.buildMicroVM(ctx)
		if err != nil {
			return err
		}
		images = append(images, micro)
	}
	if c.Peer.Kernel != "" {
		images = append(images, bench.Options{Name: c.Peer.Name, Kernel: c.Peer.Kernel, Initrd: c.Peer.Initrd, Append: c.Peer.Append})
	}
	fmt.Fprintf(os.Stderr, "keelson: booting %d images in turn, %d times\n", len(images), c.Rounds)
	w, err := bench.MeasureWall(ctx, images, c.Rounds)
	if err != nil {
		return err
	}
	w.WriteTable(os.Stdout)
	return nil
}

func (c *benchCmd) hasMicroVM() bool {
	_, err := os.Stat(filepath.Join(c.MicroVM, "kernel"))
	return err == nil
}

// microVM measures the fixed image as a microVM if there is a kernel for that.
func (c *benchCmd) microVM(ctx context.Context, processor string) error {
	if !c.hasMicroVM() {
		fmt.Fprintf(os.Stderr, "keelson: not measured as a microVM: there is no kernel in %s (make microvm-kernel)\n", c.MicroVM)
		return nil
	}
	o, err := c.buildMicroVM(ctx)
	if err != nil {
		return err
	}
	o.Processor = processor
	r, err := measure(ctx, o)
	if err != nil {
		return err
	}
	return c.write(r)
}

// buildMicroVM assembles the fixed image as a microVM.
func (c *benchCmd) buildMicroVM(ctx context.Context) (bench.Options, error) {
	name := c.Name + "-microvm"
	yamlFor := func(root string) ([]byte, error) { return bench.MicroVMYAML(root, c.MicroVM) }
	out, err := buildImage(ctx, c.Root, name, c.Output, yamlFor, format.MicroVMs)
	if err != nil {
		return bench.Options{}, err
	}
	line, err := os.ReadFile(out.File("-microvm-cmdline"))
	return bench.Options{Name: name, Kernel: out.File("-microvm-kernel"), Disk: out.File("-microvm.img"),
		Append: string(line), Machine: format.MicroVM}, err
}

func measure(ctx context.Context, o bench.Options) (*bench.Report, error) {
	fmt.Fprintf(os.Stderr, "keelson: booting %s %d times in virtual time on %s\n", o.Name, bench.Seeds, o.Processor)
	return bench.Measure(ctx, o)
}

// write prints a report, and writes it to a file.
func (c *benchCmd) write(r *bench.Report) error {
	r.WriteTable(os.Stdout)
	path, err := r.WriteJSON(c.Output)
	if err != nil {
		return err
	}
	fmt.Printf("Written to %s.\n\n", path)
	return nil
}

// more measures the start of each program in the guest's tree, and draws the boot.
func (c *benchCmd) more(ctx context.Context, report *bench.Report, startup bench.Options, reference bench.Reference) (err error) {
	fmt.Fprintln(os.Stderr, "keelson: starting each program of the guest in virtual time")
	if report.Startup, err = bench.MeasureStartup(ctx, startup); err != nil {
		return err
	}
	if reference == bench.Stock && report.Processor != bench.Processors[0] { // Its figures are of another processor.
		return nil
	}
	path, err := report.WriteChart(c.Output, reference)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "keelson: chart in %s\n", path)
	return nil
}

// buildBench assembles an image of the benchmark around a guest's root tree.
func buildBench(ctx context.Context, root, name, dir string, yamlFor func(string) ([]byte, error)) (bench.Options, error) {
	out, err := buildImage(ctx, root, name, dir, yamlFor, format.KernelInitrd)
	return bench.Options{Name: name, Kernel: out.Kernel, Initrd: out.Initrd, Append: out.Cmdline, Root: root}, err
}

// buildImage assembles an image around a guest's root tree.
func buildImage(ctx context.Context, root, name, dir string, yamlFor func(string) ([]byte, error), kind string) (image.Output, error) {
	if _, err := os.Stat(filepath.Join(root, "init")); err != nil {
		return image.Output{}, fmt.Errorf("cannot find the guest: %w (make builds it)", err)
	}
	yaml, err := yamlFor(root)
	if err != nil {
		return image.Output{}, err
	}
	p, done := newProgress()
	defer done()
	return image.Build(ctx, image.Options{YAML: yaml, File: name + ".yml", Name: name,
		Arch: qemu.AMD64, OutDir: dir, Formats: []string{kind}, Progress: p})
}
