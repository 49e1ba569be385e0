package fsimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// ISO describes a disc that UEFI boots, also when it is written to a disk.
type ISO struct {
	Volume string // its name
	ESP    string // file with the EFI system partition
	Time   time.Time
	ID     uuid.UUID
}

// espType is the type of an EFI system partition.
const espType = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"

// Make writes the disc to file. Its own file system is empty.
func (i ISO) Make(ctx context.Context, file string) error {
	dir, err := os.MkdirTemp(filepath.Dir(file), ".iso-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chtimes(dir, i.Time, i.Time)
	}
	if err != nil {
		return fmt.Errorf("cannot make a disc: %w", err)
	}
	err = run(ctx, nil, []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(i.Time.Unix(), 10)},
		"xorriso", "-as", "mkisofs", "-quiet", "-r", "-V", volumeID(i.Volume), "-o", file,
		"--gpt_disk_guid", strings.ReplaceAll(i.ID.String(), "-", ""), "-partition_offset", "16",
		"-append_partition", "2", espType, i.ESP, "-appended_part_as_gpt",
		"-e", "--interval:appended_partition_2:all::", "-no-emul-boot", dir)
	if err != nil && strings.Contains(err.Error(), "exceeds free space") { // xorriso checks before it writes.
		return fmt.Errorf("%w: %w", err, unix.ENOSPC)
	}
	return err
}

// volumeID converts a name to one of ISO 9660: at most 32 of A-Z, 0-9 and _.
func volumeID(name string) string {
	id := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(name))
	return id[:min(len(id), 32)]
}
