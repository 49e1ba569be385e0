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
	Initrd string `help:"Initial RAM disk that goes with it; its containers write the marks that docs/testing.md names." placeholder:"FILE"`
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
	if c.Kernel == "" {
		var err error
		if o, err = c.build(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "testvm: booting %s %d times in virtual time\n", o.Name, bench.Seeds)
	report, err := bench.Measure(ctx, o)
	if err != nil {
		return err
	}
	report.WriteTable(os.Stdout)
	path, err := report.WriteJSON(c.Output)
	if err != nil {
		return err
	}
	fmt.Printf("Written to %s.\n", path)
	return nil
}

// build assembles the fixed image.
func (c *benchCmd) build(ctx context.Context) (bench.Options, error) {
	if _, err := os.Stat(filepath.Join(c.Root, "init")); err != nil {
		return bench.Options{}, fmt.Errorf("cannot find the guest: %w (make builds it)", err)
	}
	yaml, err := bench.ImageYAML(c.Root)
	if err != nil {
		return bench.Options{}, err
	}
	p, done := newProgress()
	out, err := image.Build(ctx, image.Options{YAML: yaml, File: "bench.yml", Name: c.Name,
		Arch: qemu.AMD64, OutDir: c.Output, Progress: p})
	done()
	return bench.Options{Name: c.Name, Kernel: out.Kernel, Initrd: out.Initrd, Append: out.Cmdline, Root: c.Root}, err
}
