package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"golang.org/x/term"

	"keelson/testvm/image"
	"keelson/testvm/image/progress"
)

type buildCmd struct {
	File        string   `arg:"" type:"existingfile" help:"LinuxKit YAML file."`
	Out         string   `short:"o" type:"path" default:"." help:"Folder for the output."`
	Name        string   `help:"Name of the output; that of the file by default."`
	Arch        string   `enum:"amd64,arm64,riscv64,s390x," default:"" help:"Architecture, amd64, arm64, riscv64 or s390x; the host's by default."`
	Guest       string   `type:"path" help:"Guest tree that the reference keelson in init stands for."`
	Cache       string   `type:"path" help:"Cache folder; keelson in the user's own by default."`
	Format      []string `help:"Format of the output, one or several of ${formats}. See testvm formats." default:"kernel+initrd" placeholder:"FORMAT,…"`
	Compression string   `enum:"fast,best,none" default:"fast" help:"Compression of an initrd: fast, best (as small as can be, takes a minute and the program zstd), or none (boots soonest)."`
	Size        string   `help:"Size of a disk, as in 512M or 2G; by default as small as it can be. What is left over belongs to no partition." placeholder:"SIZE"`
	Data        string   `help:"Add a partition for data with this label to a disk, of 64M if no size is given; docs/persistent.md." placeholder:"LABEL[,size=SIZE]"`
	Stub        string   `type:"existingfile" help:"systemd's EFI stub for formats that UEFI starts; by default the one of Debian's package." placeholder:"FILE"`
	Firmware    string   `type:"existingdir" help:"Folder of firmware for a board: its files are copied to the boot partition." placeholder:"DIR"`
	Refresh     bool     `help:"Look for newer versions of packages and images that are in the cache."`
}

// Run builds the image and names the files it wrote.
func (c *buildCmd) Run(ctx context.Context) error {
	source, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("cannot read image file: %w", err)
	}
	mtime, err := sourceDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	size, err := diskSize(c.Size)
	if err != nil {
		return err
	}
	data, err := dataPartition(c.Data)
	if err != nil {
		return err
	}
	p, done := newProgress()
	out, err := image.Build(ctx, image.Options{
		YAML: source, File: c.File, Name: c.Name, Arch: c.Arch, GuestRoot: c.Guest, CacheDir: c.Cache,
		OutDir: c.Out, Formats: c.Format, Compression: c.Compression, Size: size, Data: data, Stub: c.Stub, Firmware: c.Firmware, Refresh: c.Refresh, Progress: p, ModTime: mtime,
	})
	done()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return errors.New("interrupted")
		}
		return err
	}
	for _, f := range out.Files {
		if info, err := os.Stat(f); err == nil {
			fmt.Printf("%10d  %s\n", info.Size(), f)
		}
	}
	return nil
}

// diskSize reads the size of a disk in bytes; 0 if none is given.
func diskSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := units.RAMInBytes(s)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("cannot use %q as the size of a disk: want something like 512M or 2G", s)
	}
	return n, nil
}

// dataPartition reads LABEL[,size=SIZE]; nil if there is none.
func dataPartition(s string) (*image.Data, error) {
	if s == "" {
		return nil, nil
	}
	label, option, more := strings.Cut(s, ",")
	if !more {
		return &image.Data{Label: label}, nil
	}
	value, ok := strings.CutPrefix(option, "size=")
	size, err := units.RAMInBytes(value)
	if !ok || err != nil || size <= 0 {
		return nil, fmt.Errorf("cannot use %q as a data partition: want LABEL or LABEL,size=SIZE", s)
	}
	return &image.Data{Label: label, Size: size}, nil
}

// newProgress draws on a terminal and writes lines elsewhere.
func newProgress() (p progress.Progress, done func()) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return progress.Lines(os.Stderr), func() {}
	}
	bars := progress.NewBars(os.Stderr)
	return bars, bars.Close
}

// sourceDate reads SOURCE_DATE_EPOCH, seconds since 1970.
func sourceDate(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot use SOURCE_DATE_EPOCH %q: it is not a number of seconds", s)
	}
	return time.Unix(int64(n), 0), nil
}
