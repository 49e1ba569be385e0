package image

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"keelson/testvm/image/disk"
	"keelson/testvm/image/format"
	"keelson/testvm/image/fsimage"
)

// Data is a partition for persistent data, after all others: an empty ext4 file
// system, which an onboot container can grow to the size of the disk.
type Data struct {
	Label string // of file system and partition
	Size  int64  // bytes; DataSize if zero
}

// DataSize is the default size of the data partition.
const DataSize = 64 << 20

// dataLabel matches labels that ext4 can store and that need no quoting anywhere.
var dataLabel = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,15}$`)

// chooseData refuses a data partition that cannot be made.
func (b *builder) chooseData() error {
	if b.Data == nil {
		return nil
	}
	if !slices.ContainsFunc(b.formats, func(f format.Format) bool { return f.Sized }) {
		return errors.New("cannot build with a data partition: none of the formats is a disk with partitions")
	}
	if !dataLabel.MatchString(b.Data.Label) {
		return fmt.Errorf("cannot build with a data partition: label %q is not 1 to 16 letters, digits, dots, hyphens", b.Data.Label)
	}
	d := *b.Data // The caller's value stays unchanged.
	if d.Size == 0 {
		d.Size = DataSize
	}
	b.Data = &d
	return nil
}

// dataPartition returns the data partition, or nothing if d is nil.
func (m *maker) dataPartition(ctx context.Context, d *Data) ([]disk.Partition, error) {
	if d == nil {
		return nil, nil
	}
	file, err := m.once("-data.img", func(file string) error {
		return fsimage.Ext4{Label: d.Label, Size: d.Size, Time: m.ModTime, ID: m.id("data")}.Make(ctx, file)
	})
	return []disk.Partition{{Name: d.Label, Kind: disk.LinuxData, Size: d.Size, Content: file}}, err
}
