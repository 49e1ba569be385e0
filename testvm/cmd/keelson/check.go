package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"keelson/runtime/security"
	"keelson/testvm/image"
)

type checkCmd struct {
	File  []string `arg:"" type:"existingfile" help:"LinuxKit YAML files, merged in their order; - for standard input."`
	Arch  string   `enum:"amd64,arm64,riscv64,s390x," default:"" help:"Architecture, amd64, arm64, riscv64 or s390x; the host's by default."`
	Guest string   `type:"path" help:"Guest tree that the reference keelson in init stands for."`
	Cache string   `type:"path" help:"Cache folder; keelson in the user's own by default."`
	Pull  bool     `help:"Fetch images from registries and Debian's packages, and check the containers that use them too."`

	Security bool `help:"Show how far each service is isolated from the machine, and what to write to isolate it further."`
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
	err = printReport(os.Stdout, report)
	if c.Security {
		err = errors.Join(err, printSecurity(os.Stdout, report.Services))
	}
	return err
}

// printSecurity prints a table of services, if there are any, then the findings of each.
func printSecurity(w io.Writer, services []security.Report) error {
	if len(services) == 0 {
		return nil
	}
	err := security.PrintTable(w, services)
	for _, s := range services {
		fmt.Fprintln(w)
		err = errors.Join(err, s.Print(w))
	}
	return err
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
