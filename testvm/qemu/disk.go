package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/docker/go-units"
)

// ParseDisk reads PATH[,size=1G][,format=raw][,bus=BUS][,readonly].
func ParseDisk(s string) (Disk, error) {
	path, options, _ := strings.Cut(s, ",")
	d := Disk{Path: path}
	if path == "" {
		return d, fmt.Errorf("cannot use disk %q: no path", s)
	}
	if options == "" {
		return d, nil
	}
	for option := range strings.SplitSeq(options, ",") {
		if err := d.set(option); err != nil {
			return d, fmt.Errorf("cannot use disk %q: %w", s, err)
		}
	}
	return d, nil
}

func (d *Disk) set(option string) error {
	key, value, _ := strings.Cut(option, "=")
	switch key {
	case "size":
		n, err := units.RAMInBytes(value)
		if err != nil || n <= 0 {
			return fmt.Errorf("size %q is not like 512M or 2G", value)
		}
		d.Size = n
	case "format":
		if value == "" {
			return errors.New("format is empty")
		}
		d.Format = value
	case "bus":
		if !slices.Contains(Buses, value) {
			return fmt.Errorf("bus %q is none of %s", value, strings.Join(Buses, ", "))
		}
		d.Bus = value
	case "readonly":
		d.ReadOnly = true
	default:
		return fmt.Errorf("unknown option %q (size, format, bus, readonly)", key)
	}
	return nil
}

// create makes the file of d if it is missing and a size is given, and truncates the log.
func (d Disk) create() error {
	if d.Log != "" {
		if err := os.WriteFile(d.Log, nil, 0o644); err != nil {
			return fmt.Errorf("cannot make the log of a disk: %w", err)
		}
	}
	_, err := os.Stat(d.Path)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) || d.Size == 0 {
		return fmt.Errorf("cannot use disk %s: %w (give size= to create it)", d.Path, err)
	}
	if d.Format != "" && d.Format != "raw" {
		return d.createFormatted()
	}
	f, err := os.OpenFile(d.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("cannot make disk: %w", err)
	}
	return errors.Join(f.Truncate(d.Size), f.Close())
}

func (d Disk) createFormatted() error {
	out, err := exec.Command("qemu-img", "create", "-q", "-f", d.Format, d.Path, fmt.Sprint(d.Size)).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("cannot make %s disk %s: qemu-img is missing (Debian package qemu-utils)", d.Format, d.Path)
	}
	if err != nil {
		return fmt.Errorf("cannot make %s disk %s: %w: %s", d.Format, d.Path, err, out)
	}
	return nil
}
