package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"keelson/testvm/bench"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
)

type benchCmd struct {
	Kernel string `help:"Measure this kernel in place of the fixed image." placeholder:"FILE"`
	Initrd string `help:"Initial RAM disk that goes with it; its containers must write the marks described in docs/testing.md." placeholder:"FILE"`
	Append string `help:"Kernel command line that goes with it." placeholder:"TEXT"`
	Name   string `help:"Name of the report." default:"keelson"`
	Output string `short:"o" help:"Folder for the report NAME.json and the image." default:"build/bench" placeholder:"DIR"`
	Root   string `help:"Guest root tree of the fixed image." default:"build/amd64/root" placeholder:"DIR"`
}

// Run measures an image and prints the report.
func (c *benchCmd) Run(ctx context.Context) error {
	o := bench.Options{Name: c.Name, Kernel: c.Kernel, Initrd: c.Initrd, Append: c.Append}
	if (c.Kernel == "") != (c.Initrd == "") {
		return errors.New("cannot measure: --kernel and --initrd go together")
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
	fmt.Fprintf(os.Stderr, "keelson: booting %s %d times in virtual time\n", o.Name, bench.Seeds)
	report, err := bench.Measure(ctx, o)
	if err != nil {
		return err
	}
	if fixed {
		if err := c.more(ctx, report, startup); err != nil {
			return err
		}
	}
	report.WriteTable(os.Stdout)
	path, err := report.WriteJSON(c.Output)
	if err != nil {
		return err
	}
	fmt.Printf("Written to %s.\n", path)
	return nil
}

// more measures the start of each program in the guest's tree, and draws the boot.
func (c *benchCmd) more(ctx context.Context, report *bench.Report, startup bench.Options) (err error) {
	fmt.Fprintln(os.Stderr, "keelson: starting each program of the guest in virtual time")
	if report.Startup, err = bench.MeasureStartup(ctx, startup); err != nil {
		return err
	}
	path, err := report.WriteChart(c.Output, bench.Stock)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "keelson: chart in %s\n", path)
	return nil
}

// buildBench assembles an image of the benchmark around a guest's root tree.
func buildBench(ctx context.Context, root, name, dir string, yamlFor func(string) ([]byte, error)) (bench.Options, error) {
	if _, err := os.Stat(filepath.Join(root, "init")); err != nil {
		return bench.Options{}, fmt.Errorf("cannot find the guest: %w (make builds it)", err)
	}
	yaml, err := yamlFor(root)
	if err != nil {
		return bench.Options{}, err
	}
	p, done := newProgress()
	out, err := image.Build(ctx, image.Options{YAML: yaml, File: name + ".yml", Name: name,
		Arch: qemu.AMD64, OutDir: dir, Progress: p})
	done()
	return bench.Options{Name: name, Kernel: out.Kernel, Initrd: out.Initrd, Append: out.Cmdline, Root: root}, err
}
