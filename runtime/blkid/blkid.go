// Package blkid identifies the content of a block device by its superblocks: the type of
// the file system, swap area or encrypted volume, its label and UUID, as blkid(8) prints
// them.
//
// The content is not trusted: it may be that of a stick which somebody plugs in. Nothing
// that it says is used as a position or size, so that a Probe reads at most 140 KiB; labels
// may contain anything (Encode makes names of them).
//
// It reads no partition tables: the kernel does. Members of RAIDs and LVM are recognised so
// that the file system which begins on one is not taken for it.
//
// Sources: the kernel's Documentation/filesystems/ext4/super.rst, fs/xfs/libxfs/xfs_format.h,
// include/uapi/linux/btrfs_tree.h, fs/erofs/erofs_fs.h, fs/squashfs/squashfs_fs.h,
// include/linux/swap.h, include/uapi/linux/raid/md_p.h; the LUKS1 and LUKS2 On-Disk Format
// Specifications; ECMA-119; Microsoft's FAT specification (fatgen103); lvm2's
// lib/format_text/layout.h; blkid(8) for the form of labels and UUIDs.
package blkid

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Content is what a device contains.
type Content struct {
	Type  string // "ext4", "swap", "crypto_LUKS", …, as blkid(8); empty if nothing is recognised
	Label string // as stored: any bytes but zero
	UUID  string // in the form that is usual for the type
}

// Member reports whether the device belongs to a RAID or a volume group, whose content is
// not that of the device alone.
func (c Content) Member() bool { return c.Type == raidMember || c.Type == lvmMember }

const (
	raidMember = "linux_raid_member"
	lvmMember  = "LVM2_member"
)

// ErrSeveral is returned for a device with the superblocks of several file systems, such as
// one that was formatted again: any choice could be the wrong one (blkid(8), "ambivalent").
var ErrSeveral = errors.New("superblocks of several types")

// reader reads parts of a device. After the first error, parts are zeros.
type reader struct {
	r    io.ReaderAt
	size int64
	err  error
}

// at returns n bytes from position off. Parts outside of the device are zeros.
func (r *reader) at(off int64, n int) []byte {
	b := make([]byte, n)
	if r.err != nil || off < 0 || off > r.size-int64(n) {
		return b
	}
	if _, err := r.r.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
		r.err = err
		clear(b)
	}
	return b
}

// probes in the order in which they are tried.
var probes = []func(*reader) Content{raid, lvm, luks, ext, xfs, btrfs, erofs, squashfs, swap, iso9660, vfat}

// Probe identifies the content of a device of size bytes. Content that is not recognised is
// no error. A device with ISO 9660 and another type is the former, as hybrid images are.
func Probe(r io.ReaderAt, size int64) (Content, error) {
	d := &reader{r: r, size: size}
	var found []Content
	for _, probe := range probes {
		c := probe(d)
		if d.err != nil {
			return Content{}, fmt.Errorf("cannot read its superblocks: %w", d.err)
		}
		if c.Type == "" {
			continue
		}
		if c.Member() || c.Type == "iso9660" {
			return c, nil
		}
		found = append(found, c)
	}
	switch len(found) {
	case 0:
		return Content{}, nil
	case 1:
		return found[0], nil
	}
	slices.SortFunc(found, func(a, b Content) int { return len(a.Type) - len(b.Type) })
	return Content{}, fmt.Errorf("%w: %s, %s", ErrSeveral, found[0].Type, found[1].Type)
}
