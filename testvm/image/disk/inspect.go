package disk

import (
	"errors"
	"fmt"
	"path"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/partition/gpt"
)

// bootPrograms are the names under which UEFI starts what is on a disk, by
// architecture.
var bootPrograms = map[string]string{"amd64": "BOOTX64.EFI", "arm64": "BOOTAA64.EFI"}

// BootProgram is the path of the program that UEFI starts from a disk.
func BootProgram(arch string) string { return path.Join("EFI/BOOT", bootPrograms[arch]) }

// EFIArch tells for which architecture a disk has a program that UEFI starts.
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
