package disk

import (
	"fmt"

	"github.com/docker/go-units"
	"github.com/google/uuid"
)

// Alignment divides the start and end of every partition.
const Alignment = 1 << 20

// Scheme is the type of a partition table.
type Scheme string

// The schemes.
const (
	GPT Scheme = "GPT"
	MBR Scheme = "MBR"
)

// Kind is the purpose of a partition.
type Kind int

// The kinds.
const (
	ESP       Kind = iota // EFI system partition
	FAT16                 // read by a BIOS's boot loader
	FAT32                 // read by a board's firmware
	LinuxData             // Linux file system
)

// Partition is a part of a disk.
type Partition struct {
	Name    string // only in a GPT
	Kind    Kind
	Size    int64  // rounded up to a multiple of Alignment
	Content string // file with its content, not longer than Size; may be empty
	Active  bool   // started by an MBR's boot code
}

// Plan describes a disk to make.
type Plan struct {
	Scheme     Scheme
	Size       int64     // of the whole disk; as small as possible when 0
	ID         uuid.UUID // all identifiers are derived from it
	BootCode   []byte    // code in the first sector; may be empty
	Partitions []Partition
}

// Placed is a partition with its position.
type Placed struct {
	Partition
	Start, Length int64
}

// Limits of an MBR: four entries, 32-bit sector numbers, and boot code that ends at the
// disk's signature.
const (
	mbrEntries  = 4
	mbrCodeSize = 440
	mbrMax      = 512 << 32
)

// Layout returns the partitions with their positions, one after the other, and the size
// of the disk. If the given size is larger, the space at the end is unused.
func (p Plan) Layout() (placed []Placed, size int64, err error) {
	at := int64(Alignment)
	for _, part := range p.Partitions {
		if part.Size <= 0 {
			return nil, 0, fmt.Errorf("partition %s has no size", part.Name)
		}
		length := roundUp(part.Size)
		placed = append(placed, Placed{part, at, length})
		at += length
	}
	size = at
	if p.Scheme == GPT {
		size += Alignment // for the copy of the table
	}
	if p.Size != 0 {
		if roundUp(p.Size) < size {
			return nil, 0, fmt.Errorf("a disk of %s is too small: its partitions take %s", human(p.Size), human(size))
		}
		size = roundUp(p.Size)
	}
	return placed, size, p.fits(size)
}

func (p Plan) fits(size int64) error {
	switch {
	case p.Scheme == MBR && len(p.Partitions) > mbrEntries:
		return fmt.Errorf("an MBR has room for %d partitions, not for %d", mbrEntries, len(p.Partitions))
	case p.Scheme == MBR && size > mbrMax:
		return fmt.Errorf("an MBR supports disks up to %s, not %s", human(mbrMax), human(size))
	case len(p.BootCode) > mbrCodeSize:
		return fmt.Errorf("boot code of %d bytes does not fit in the first sector", len(p.BootCode))
	}
	return nil
}

func roundUp(n int64) int64 { return (n + Alignment - 1) / Alignment * Alignment }

func human(n int64) string { return units.BytesSize(float64(n)) }
