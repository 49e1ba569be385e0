package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Types of content that can be made.
const (
	Ext4  = "ext4"
	XFS   = "xfs"
	Btrfs = "btrfs"
	VFAT  = "vfat"
	Swap  = "swap"
	LUKS  = "crypto_LUKS"
)

// labelLimits has the types that can be made, with the bytes that their labels may have.
var labelLimits = map[string]int{Ext4: 16, XFS: 12, Btrfs: 128, VFAT: 11, Swap: 15, LUKS: 47}

// Kinds of partition tables.
const (
	GPT = "gpt"
	DOS = "dos"
)

// Any as a device to format is the first empty disk whose medium cannot be removed.
const Any = "any"

// Want is what a machine is to have. The device is that with the label or UUID, the one that is
// named, or without any of these the first with a usable file system.
type Want struct {
	Label  string // of the file system or encrypted volume
	UUID   string
	Device string // a path below /dev; of a disk with one partition, the partition is meant

	Type   string   // of what is made
	Format []string // devices that are formatted if there is none with the label: the first empty one, or Any
	Table  string   // of a disk that is formatted: GPT, DOS, or none
	Force  bool     // format Device once, whatever it contains, unless it is in use

	Crypt string // the name of the mapped device of an encrypted volume
	Check bool
	Grow  bool
	Mount string // mount point; ignored for swap
	Use   bool   // swap: turn it on

	Wait time.Duration // for devices that appear late
}

// Validate returns what is wrong with w.
func (w Want) Validate() error {
	limit, ok := labelLimits[w.Type]
	switch {
	case w.Type == LUKS || !ok:
		return fmt.Errorf("cannot make a file system of type %q: ext4, xfs, btrfs, vfat or swap", w.Type)
	case w.Table != "" && w.Table != GPT && w.Table != DOS:
		return fmt.Errorf("a partition table %q cannot be made: gpt or dos", w.Table)
	case w.Force && w.Device == "":
		return errors.New("-force needs a device: it formats what is there")
	case w.Type == Swap && w.Crypt != "":
		return errors.New("a swap area in an encrypted volume is not supported: use swap --encrypt")
	case strings.ContainsFunc(w.Label, func(r rune) bool { return r < ' ' || r == 0x7f || r == '"' || r == '\\' || r == '�' }):
		return fmt.Errorf("the label %q has characters other than printable ones, or one of \" and \\", w.Label)
	case strings.Contains(w.Crypt, "/") || w.Crypt == "." || w.Crypt == ".." || w.Crypt == "control" || strings.HasPrefix(w.Crypt, "-"):
		return fmt.Errorf("%q cannot be the name of a mapped device", w.Crypt)
	}
	if w.Crypt != "" {
		limit = min(limit, labelLimits[LUKS])
	}
	if len(w.Label) > limit {
		return fmt.Errorf("the label %q is longer than %d bytes, the limit of %s", w.Label, limit, w.Type)
	}
	return nil
}

// outer returns the type of what is made on the device itself.
func (w Want) outer() string {
	if w.Crypt != "" {
		return LUKS
	}
	return w.Type
}

// mountable are the types of file systems that are mounted and found without a type.
var mountable = []string{"ext2", "ext3", Ext4, XFS, Btrfs, VFAT}

// fits reports whether a device contains what is wanted, apart from label and UUID.
func (w Want) fits(d *Device) bool {
	switch {
	case w.Crypt != "":
		return d.Content.Type == LUKS
	case w.Type == Swap:
		return d.Content.Type == Swap
	}
	return slices.Contains(mountable, d.Content.Type)
}

// what describes what is wanted for messages.
func (w Want) what() string {
	kind := "file system"
	switch w.outer() {
	case LUKS:
		kind = "encrypted volume"
	case Swap:
		kind = "swap area"
	}
	switch {
	case w.Label != "":
		return fmt.Sprintf("%s has the label %s", kind, w.Label)
	case w.UUID != "":
		return fmt.Sprintf("%s has the UUID %s", kind, w.UUID)
	}
	return kind + " was found"
}
