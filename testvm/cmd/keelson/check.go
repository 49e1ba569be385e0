package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"keelson/testvm/image"
)

type checkCmd struct {
	File  []string `arg:"" type:"existingfile" help:"LinuxKit YAML files, merged in their order; - for standard input."`
	Arch  string   `enum:"amd64,arm64,riscv64,s390x," default:"" help:"Architecture, amd64, arm64, riscv64 or s390x; the host's by default."`
	Guest string   `type:"path" help:"Guest tree that the reference keelson in init stands for."`
	Cache string   `type:"path" help:"Cache folder; keelson in the user's own by default."`
	Pull  bool     `help:"Fetch images from registries and Debian's packages, and check the containers that use them too."`
}

// Run prints the problems in the files, one per line. The error contains their number.
func (c *checkCmd) Run(ctx context.Context) error {
	files, err := readFiles(c.File, os.Stdin)
	if err != nil {
		return err
	}
	o := optionsOf(files)
	o.Arch, o.GuestRoot, o.CacheDir = c.Arch, c.Guest, c.Cache
	done := func() {}
	if c.Pull {
		o.Progress, done = newProgress()
	}
	report := image.Check(ctx, o, c.Pull)
	done()
	return printReport(os.Stdout, report)
}

func printReport(w io.Writer, r image.Report) error {
	for _, err := range r.Problems {
		fmt.Fprintln(w, err)
	}
	for _, err := range r.NotChecked {
		fmt.Fprintf(w, "%v: not checked (--pull fetches it)\n", err)
	}
	switch n := len(r.Problems); n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("1 problem found")
	default:
		return fmt.Errorf("%d problems found", n)
	}
}
