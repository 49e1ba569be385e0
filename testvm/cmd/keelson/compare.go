package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"keelson/testvm/bench"
	"keelson/testvm/vm/session"
)

type compareCmd struct {
	A      string `arg:"" help:"An image that keelson bench wrote, or the root tree of a guest to make one of."`
	B      string `arg:"" help:"Another one."`
	Pairs  int    `help:"Number of times to boot both." default:"5"`
	Output string `short:"o" help:"Folder for images that are made." default:"build/bench" placeholder:"DIR"`
}

// Run boots both in turn and prints how they compare.
func (c *compareCmd) Run(ctx context.Context) error {
	a, err := c.options(ctx, "a", c.A)
	if err != nil {
		return err
	}
	b, err := c.options(ctx, "b", c.B)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "keelson: booting %s and %s in turn, %d times\n", c.A, c.B, c.Pairs)
	comparison, err := bench.Compare(ctx, a, b, c.Pairs)
	if err != nil {
		return err
	}
	comparison.WriteTable(os.Stdout)
	return nil
}

// options returns the options for the image at path. For a guest's tree it makes an image.
func (c *compareCmd) options(ctx context.Context, name, path string) (bench.Options, error) {
	if _, err := os.Stat(filepath.Join(path, "init")); err == nil {
		o, err := buildBench(ctx, path, name, filepath.Join(c.Output, name), bench.ImageYAML)
		o.Name = path
		return o, err
	}
	image, err := session.Find(path, "")
	if err == nil && image.Disk != "" {
		err = fmt.Errorf("cannot compare %s: only images of format kernel+initrd are supported", path)
	}
	return bench.Options{Name: path, Kernel: image.Kernel, Initrd: image.Initrd, Append: image.Cmdline}, err
}
