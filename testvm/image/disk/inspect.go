package disk

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/diskfs/go-diskfs/partition/mbr"
)

// bootPrograms are the names of the programs that UEFI starts from a disk, by
// architecture.
var bootPrograms = map[string]string{"amd64": "BOOTX64.EFI", "arm64": "BOOTAA64.EFI"}

// BootProgram returns the path of the program that UEFI starts from a disk.
func BootProgram(arch string) string { return path.Join("EFI/BOOT", bootPrograms[arch]) }

// Names of the files that a board's firmware loads, in the first partition of its disk.
const (
	BoardKernel  = "kernel8.img"
	BoardInitrd  = "initrd.img"
	BoardCmdline = "cmdline.txt"
)

// Unpack copies files from the FAT32 file system in the first partition of a
// disk with an MBR to a folder.
func Unpack(name, dir string, files ...string) error {
	b, err := file.OpenFromPath(name, true)
	if err != nil {
		return fmt.Errorf("cannot read disk %s: %w", name, err)
	}
	defer b.Close()
	table, err := mbr.Read(b, sector, sector)
	if err != nil || len(table.Partitions) == 0 {
		return fmt.Errorf("cannot read the partitions of %s: %w", name, cmp.Or(err, errors.New("there are none")))
	}
	first := table.Partitions[0]
	fs, err := fat32.Read(b, int64(first.Size)*sector, int64(first.Start)*sector, sector)
	if err != nil {
		return fmt.Errorf("cannot read the first partition of %s: %w", name, err)
	}
	for _, f := range files {
		data, err := fs.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f), data, 0o644)
		}
		if err != nil {
			return fmt.Errorf("cannot unpack %s of %s: %w", f, name, err)
		}
	}
	return nil
}

// EFIArch returns the architecture of the program on a disk that UEFI starts.
func EFIArch(name string) (string, error) {
	b, err := file.OpenFromPath(name, true)
	if err != nil {
		return "", fmt.Errorf("cannot read disk %s: %w", name, err)
	}
	defer b.Close()
	table, err := gpt.Read(b, sector, sector)
	if err != nil {
		return "", fmt.Errorf("cannot read the partitions of %s: %w", name, err)
	}
	for _, p := range table.Partitions {
		if p.Type != gpt.EFISystemPartition {
			continue
		}
		fs, err := fat32.Read(b, int64(p.Size), int64(p.Start)*sector, sector)
		if err != nil {
			return "", fmt.Errorf("cannot read the EFI system partition of %s: %w", name, err)
		}
		for arch := range bootPrograms {
			f, err := fs.Open(BootProgram(arch))
			if err == nil {
				return arch, f.Close()
			}
		}
	}
	return "", errors.New("cannot find a program for UEFI on " + name)
}
