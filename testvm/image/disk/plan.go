package disk

import (
	"fmt"

	"github.com/docker/go-units"
	"github.com/google/uuid"
)

// Alignment is what partitions begin and end at.
const Alignment = 1 << 20

// Scheme is how a disk is divided.
type Scheme string

// The schemes.
const (
	GPT Scheme = "GPT"
	MBR Scheme = "MBR"
)

// Kind is what a partition is for.
type Kind int

// The kinds.
const (
	ESP       Kind = iota // what UEFI looks for programs in
	FAT16                 // what a BIOS's boot loader reads
	FAT32                 // what firmware of boards reads
	LinuxData             // file systems of Linux
)

// Partition is a part of a disk.
type Partition struct {
	Name    string // told by a GPT only
	Kind    Kind
	Size    int64  // at least; more to the next multiple of Alignment
	Content string // file that it holds, not longer than Size; may be empty
	Active  bool   // the one an MBR's program starts
}

// Plan is a disk to be made.
type Plan struct {
	Scheme     Scheme
	Size       int64     // of the whole disk; as small as possible when 0
	ID         uuid.UUID // all identifiers come from it
	BootCode   []byte    // program of the first sector; may be empty
	Partitions []Partition
}

// Placed is a partition with its place.
type Placed struct {
	Partition
	Start, Length int64
}

// Limits of an MBR: four entries, 32-bit sector numbers, and the program ends
// where the disk's signature begins.
const (
	mbrEntries  = 4
	mbrCodeSize = 440
	mbrMax      = 512 << 32
)

// Layout places the partitions one after the other and tells how long the disk
// is. What a given size leaves over is at the end and belongs to none.
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
		return fmt.Errorf("an MBR divides disks up to %s, not of %s", human(mbrMax), human(size))
	case len(p.BootCode) > mbrCodeSize:
		return fmt.Errorf("a program of %d bytes does not fit in the first sector", len(p.BootCode))
	}
	return nil
}

func roundUp(n int64) int64 { return (n + Alignment - 1) / Alignment * Alignment }

func human(n int64) string { return units.BytesSize(float64(n)) }
