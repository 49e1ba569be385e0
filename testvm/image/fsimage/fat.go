package fsimage

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"time"
)

// FAT describes a FAT file system to make.
type FAT struct {
	Label  string // at most eleven characters
	Bits   int    // 16 or 32
	Serial uint32
	Time   time.Time // of everything in it
	Files  []FATFile
}

// FATFile is a file in a FAT file system.
type FATFile struct{ Path, Source string }

// fatFirst is the earliest time that a FAT file system can store.
var fatFirst = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// fatLeast are the smallest sizes, by bits: with fewer clusters the file system is
// taken for another type.
var fatLeast = map[int]int64{16: 16 << 20, 32: 36 << 20}

// Size returns the size that the file system needs for the files: tables and rounding up
// take less than a thirtieth.
func (f FAT) Size() (int64, error) {
	const mib = 1 << 20
	n := int64(mib)
	for _, file := range f.Files {
		info, err := os.Stat(file.Source)
		if err != nil {
			return 0, fmt.Errorf("cannot make a FAT file system: %w", err)
		}
		n += info.Size() + info.Size()/30 + 64<<10
	}
	return max((n+mib-1)/mib*mib, fatLeast[f.Bits]), nil
}

// Make writes the file system to file.
func (f FAT) Make(ctx context.Context, file string) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		return fmt.Errorf("cannot make a FAT file system: %w", err)
	}
	if err := os.Truncate(file, size); err != nil {
		return fmt.Errorf("cannot make a FAT file system: %w", err)
	}
	err = run(ctx, nil, nil, "mkfs.fat", "--invariant", "-F", strconv.Itoa(f.Bits), "-i", fmt.Sprintf("%08x", f.Serial), "-n", f.Label, file)
	if err != nil {
		return err
	}
	when := max(f.Time.Unix(), fatFirst.Unix())
	env := []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(when, 10), "MTOOLSRC=/dev/null", "MTOOLS_SKIP_CHECK=1"}
	for _, dir := range f.dirs() {
		if err := run(ctx, nil, env, "mmd", "-i", file, "::"+dir); err != nil {
			return err
		}
	}
	for _, x := range f.Files {
		if err := run(ctx, nil, env, "mcopy", "-i", file, x.Source, "::"+x.Path); err != nil {
			return err
		}
	}
	return nil
}

// dirs returns the folders of the files, parents first.
func (f FAT) dirs() []string {
	var all []string
	var add func(dir string)
	add = func(dir string) {
		if dir != "." && !slices.Contains(all, dir) {
			add(path.Dir(dir))
			all = append(all, dir)
		}
	}
	for _, x := range f.Files {
		add(path.Dir(x.Path))
	}
	return all
}

// Syslinux makes a FAT file system bootable by a PC's BIOS.
func Syslinux(ctx context.Context, file string, when time.Time) error {
	seconds := max(when.Unix(), fatFirst.Unix())
	return run(ctx, nil, []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(seconds, 10), "MTOOLS_SKIP_CHECK=1"}, "syslinux", "--install", file)
}
