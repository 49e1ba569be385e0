package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"golang.org/x/term"

	"keelson/testvm/image"
	"keelson/testvm/image/progress"
)

type buildCmd struct {
	File        []string `arg:"" type:"existingfile" help:"LinuxKit YAML files, merged in their order; - for standard input."`
	Out         string   `short:"o" type:"path" default:"." help:"Folder for the output."`
	Name        string   `help:"Name of the output; by default that of the last file."`
	Arch        string   `enum:"amd64,arm64,riscv64,s390x," default:"" help:"Architecture, amd64, arm64, riscv64 or s390x; the host's by default."`
	Guest       string   `type:"path" help:"Guest tree that the reference keelson in init stands for."`
	Cache       string   `type:"path" help:"Cache folder; keelson in the user's own by default."`
	Format      []string `help:"Format of the output, one or several of ${formats}; by default kernel+initrd. See keelson formats." placeholder:"FORMAT,…"`
	Profile     string   `enum:"microvm," default:"" help:"microvm: make format microvm, for a machine that boots in the shortest time; docs/images.md."`
	Compression string   `enum:"fast,best,none" default:"fast" help:"Compression of an initrd, and of the root of a microVM, which only best compresses: fast, best (smallest; needs the program zstd and takes a minute), or none (fastest to boot)."`
	Size        string   `help:"Size of a disk, as in 512M or 2G; by default as small as possible. Space after the partitions is unused." placeholder:"SIZE"`
	Data        string   `help:"Add a partition for data with this label to a disk, of 64M if no size is given; docs/persistent.md." placeholder:"LABEL[,size=SIZE]"`
	Stub        string   `type:"existingfile" help:"systemd's EFI stub for formats that UEFI starts; by default the one in Debian's package." placeholder:"FILE"`
	Firmware    string   `type:"existingdir" help:"Folder of firmware for a board: its files are copied to the boot partition." placeholder:"DIR"`
	Refresh     bool     `help:"Fetch newer versions of packages and images in the cache."`
	DryRun      bool     `help:"Print the YAML, merged from all files, and build nothing."`
}

// Run builds the image and prints the sizes and names of its files.
func (c *buildCmd) Run(ctx context.Context) error {
	files, err := readFiles(c.File, os.Stdin)
	if err != nil {
		return err
	}
	o := optionsOf(files)
	if c.DryRun {
		return printMerged(os.Stdout, o)
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
	if c.Profile != "" {
		c.Format = append(c.Format, c.Profile)
	}
	p, done := newProgress()
	o.Name, o.Arch, o.GuestRoot, o.CacheDir, o.OutDir, o.Formats, o.Compression = c.Name, c.Arch, c.Guest, c.Cache, c.Out, c.Format, c.Compression
	o.Size, o.Data, o.Stub, o.Firmware, o.Refresh, o.Progress, o.ModTime = size, data, c.Stub, c.Firmware, c.Refresh, p, mtime
	out, err := image.Build(ctx, o)
	done()
	if err != nil {
		return orInterrupted(ctx, err)
	}
	for _, f := range out.Files {
		if info, err := os.Stat(f); err == nil {
			fmt.Printf("%10d  %s\n", info.Size(), f)
		}
	}
	return nil
}

// readFiles reads YAML files; the name - means stdin.
func readFiles(names []string, stdin io.Reader) (files []image.YAMLFile, err error) {
	for i, name := range names {
		f := image.YAMLFile{Name: name}
		switch {
		case name == image.Stdin && slices.Contains(names[:i], name):
			return nil, errors.New("cannot read standard input twice")
		case name == image.Stdin:
			f.Data, err = io.ReadAll(stdin)
		default:
			f.Data, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read image file: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// optionsOf returns options with the files of an image.
func optionsOf(files []image.YAMLFile) image.Options {
	last := len(files) - 1
	return image.Options{Before: files[:last], YAML: files[last].Data, File: files[last].Name}
}

// orInterrupted replaces errors caused by a signal.
func orInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// printMerged prints the YAML that an image would be built from.
func printMerged(w io.Writer, o image.Options) error {
	text, err := image.Merged(o)
	if err == nil {
		_, err = fmt.Fprintln(w, strings.TrimRight(string(text), "\n"))
	}
	return err
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
