package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/diskfs/go-diskfs/partition/mbr"
	"github.com/google/uuid"
)

const sector = 512

// Offset of the disk's signature in the first sector.
const signatureAt = 440

var (
	gptTypes = map[Kind]gpt.Type{ESP: gpt.EFISystemPartition, FAT16: gpt.MicrosoftBasicData,
		FAT32: gpt.MicrosoftBasicData, LinuxData: gpt.LinuxFilesystem}
	mbrTypes = map[Kind]mbr.Type{ESP: mbr.EFISystem, FAT16: mbr.Fat16bLBA, FAT32: mbr.Fat32LBA, LinuxData: mbr.Linux}
)

// Write writes the disk to a sparse file.
func (p Plan) Write(name string) error {
	placed, size, err := p.Layout()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("cannot make a disk: %w", err)
	}
	if err := errors.Join(p.write(f, placed, size), f.Close()); err != nil {
		return fmt.Errorf("cannot make a disk: %w", err)
	}
	return nil
}

func (p Plan) write(f *os.File, placed []Placed, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	for _, part := range placed {
		if part.Content == "" {
			continue
		}
		if err := copyTo(f, part); err != nil {
			return fmt.Errorf("partition %s: %w", part.Name, err)
		}
	}
	if _, err := f.WriteAt(p.BootCode, 0); err != nil {
		return err
	}
	w, err := file.New(f, false).Writable()
	if err != nil {
		return err
	}
	return p.writeTable(f, w, placed, size)
}

func (p Plan) writeTable(f *os.File, w backend.WritableFile, placed []Placed, size int64) error {
	if p.Scheme == GPT {
		return p.gpt(placed).Write(w, size)
	}
	if err := p.mbr(placed).Write(w, size); err != nil {
		return err
	}
	signature := binary.LittleEndian.AppendUint32(nil, p.ID.ID()|1) // 0 would mean none.
	_, err := f.WriteAt(signature, signatureAt)
	return err
}

func (p Plan) gpt(placed []Placed) *gpt.Table {
	t := &gpt.Table{LogicalSectorSize: sector, PhysicalSectorSize: sector, ProtectiveMBR: true, GUID: p.ID.String()}
	for i, part := range placed {
		t.Partitions = append(t.Partitions, &gpt.Partition{
			Index: i + 1, Start: uint64(part.Start / sector), End: uint64((part.Start+part.Length)/sector - 1), Size: uint64(part.Length),
			Type: gptTypes[part.Kind], Name: part.Name, GUID: uuid.NewSHA1(p.ID, []byte{byte(i)}).String(),
		})
	}
	return t
}

func (p Plan) mbr(placed []Placed) *mbr.Table {
	t := &mbr.Table{LogicalSectorSize: sector, PhysicalSectorSize: sector}
	for i, part := range placed {
		t.Partitions = append(t.Partitions, &mbr.Partition{
			Index: i + 1, Bootable: part.Active, Type: mbrTypes[part.Kind],
			Start: uint32(part.Start / sector), Size: uint32(part.Length / sector),
		})
	}
	return t
}

// copyTo copies a partition's content to its position; blocks of zeros stay holes.
func copyTo(f *os.File, part Placed) error {
	in, err := os.Open(part.Content)
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || info.Size() > part.Length {
		return errors.Join(err, fmt.Errorf("%s does not fit in %s", part.Content, human(part.Length)))
	}
	block, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := part.Start; ; {
		n, err := io.ReadFull(in, block)
		if n > 0 && !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := f.WriteAt(block[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
