package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/disk"
	"keelson/testvm/image/format"
	"keelson/testvm/image/fsimage"
)

// rpiData is the default data partition.
var rpiData = Data{Label: "data", Size: DataSize}

// rpiConfig is the firmware's config.txt. upstream_kernel selects device trees by their
// names in the kernel's sources; enable_uart keeps the clock of the serial console
// constant.
const rpiConfig = `arm_64bit=1
upstream_kernel=1
enable_uart=1
kernel=` + disk.BoardKernel + `
initramfs ` + disk.BoardInitrd + ` followkernel
`

func makeRPi(ctx context.Context, m *maker, f format.Format) error {
	return m.makeFile(f, func(file string) error {
		boot, err := m.rpiPartition(ctx)
		if err != nil {
			return err
		}
		partitions, err := m.partitions(ctx, disk.Partition{Name: "boot", Kind: disk.FAT32, Content: boot}, cmp.Or(m.Data, &rpiData))
		if err != nil {
			return err
		}
		plan := disk.Plan{Scheme: disk.MBR, Size: m.Size, ID: m.id("MBR"), Partitions: partitions}
		_, size, err := plan.Layout()
		if err != nil {
			return err
		}
		if m.Size == 0 {
			plan.Size = cardSize(size)
		}
		return plan.Write(file)
	})
}

// cardSize returns the size of the smallest SD card for size bytes: a power of two,
// because QEMU accepts no other.
func cardSize(size int64) int64 { return 1 << bits.Len64(uint64(size-1)) }

// rpiPartition writes the boot partition: the firmware, if given, and the files that it
// loads.
func (m *maker) rpiPartition(ctx context.Context) (string, error) {
	firmware, err := m.firmware()
	if err != nil {
		return "", err
	}
	files, err := m.rpiFiles()
	if err != nil {
		return "", err
	}
	for _, f := range firmware { // These replace the files made here.
		files = slices.DeleteFunc(files, func(own fsimage.FATFile) bool { return strings.EqualFold(own.Path, f.Path) })
	}
	files = append(files, firmware...)
	if !slices.ContainsFunc(files, func(f fsimage.FATFile) bool { return path.Ext(f.Path) == ".dtb" }) {
		return "", errors.New("there are no device trees for boards, neither in the kernel's package nor in the firmware folder: deb:linux-image-arm64 has them")
	}
	return m.once("-rpi-boot.img", func(file string) error {
		return fsimage.FAT{Label: "BOOT", Bits: 32, Serial: m.id("BOOT").ID(), Time: m.ModTime, Files: files}.Make(ctx, file)
	})
}

// rpiFiles returns kernel, initrd, device trees, and the files that refer to them.
func (m *maker) rpiFiles() ([]fsimage.FATFile, error) {
	kernel, kernelErr := m.kernelFile()
	initrd, initrdErr := m.initrdFile()
	config, configErr := m.once("-config.txt", func(file string) error { return cache.WriteFile(file, []byte(rpiConfig)) })
	cmdline, cmdlineErr := m.once("-cmdline.txt", func(file string) error {
		// The firmware reads only one line.
		return cache.WriteFile(file, []byte(strings.Join(strings.Fields(m.cmdline()), " ")+"\n"))
	})
	files := []fsimage.FATFile{{Path: "config.txt", Source: config}, {Path: disk.BoardCmdline, Source: cmdline},
		{Path: disk.BoardKernel, Source: kernel}, {Path: disk.BoardInitrd, Source: initrd}}
	errs := []error{kernelErr, initrdErr, configErr, cmdlineErr}
	if m.kernel.Trees == nil {
		return files, errors.Join(errs...)
	}
	for _, e := range m.kernel.Trees.Entries() {
		file, err := m.once("-"+e.Path, func(file string) error { return cache.WriteFile(file, e.Data) })
		files, errs = append(files, fsimage.FATFile{Path: e.Path, Source: file}), append(errs, err)
	}
	return files, errors.Join(errs...)
}

// firmware returns the files of the firmware folder, in order.
func (m *maker) firmware() (files []fsimage.FATFile, err error) {
	if m.Firmware == "" {
		m.Progress.Note("no firmware given (--firmware): a board needs firmware in the boot partition")
		return nil, nil
	}
	err = filepath.WalkDir(m.Firmware, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(name) // Symlinks are followed: FAT has none.
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a regular file", name)
		}
		rel, relErr := filepath.Rel(m.Firmware, name)
		files = append(files, fsimage.FATFile{Path: filepath.ToSlash(rel), Source: name})
		return errors.Join(err, relErr)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the firmware folder: %w", err)
	}
	return files, nil
}
