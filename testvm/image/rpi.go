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

// rpiData is the partition for data where nothing else is asked for.
var rpiData = Data{Label: "data", Size: DataSize}

// rpiConfig tells the firmware what to start. upstream_kernel makes it look for
// device trees by the names that they have in the kernel's own sources, and
// enable_uart keeps the clock of the serial console steady.
const rpiConfig = `arm_64bit=1
upstream_kernel=1
enable_uart=1
kernel=` + disk.BoardKernel + `
initramfs ` + disk.BoardInitrd + ` followkernel
`

func makeRPi(ctx context.Context, m *maker, f format.Format) error {
	return m.made(f, func(file string) error {
		boot, err := m.rpiPartition(ctx)
		if err != nil {
			return err
		}
		info, err := os.Stat(boot)
		if err != nil {
			return err
		}
		data, err := m.dataPartition(ctx, cmp.Or(m.Data, &rpiData))
		if err != nil {
			return err
		}
		plan := disk.Plan{Scheme: disk.MBR, Size: m.Size, ID: m.id("MBR"),
			Partitions: append([]disk.Partition{{Name: "boot", Kind: disk.FAT32, Size: info.Size(), Content: boot}}, data...)}
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

// cardSize is the least size of an SD card that so many bytes fit on, a power
// of two: QEMU takes no other.
func cardSize(size int64) int64 { return 1 << bits.Len64(uint64(size-1)) }

// rpiPartition holds what the firmware reads: the firmware itself as far as it
// is given, and what it starts.
func (m *maker) rpiPartition(ctx context.Context) (string, error) {
	firmware, err := m.firmware()
	if err != nil {
		return "", err
	}
	files, err := m.rpiFiles()
	if err != nil {
		return "", err
	}
	for _, f := range firmware { // They take the place of those made here.
		files = slices.DeleteFunc(files, func(own fsimage.FATFile) bool { return strings.EqualFold(own.Path, f.Path) })
	}
	files = append(files, firmware...)
	if !slices.ContainsFunc(files, func(f fsimage.FATFile) bool { return path.Ext(f.Path) == ".dtb" }) {
		return "", errors.New("the kernel comes without device trees for boards, and there are none in the folder of firmware: deb:linux-image-arm64 has them")
	}
	return m.once("-rpi-boot.img", func(file string) error {
		return fsimage.FAT{Label: "BOOT", Bits: 32, Serial: m.id("BOOT").ID(), Time: m.ModTime, Files: files}.Make(ctx, file)
	})
}

// rpiFiles are kernel, initrd, device trees, and what names them.
func (m *maker) rpiFiles() ([]fsimage.FATFile, error) {
	kernel, kernelErr := m.kernelFile()
	initrd, initrdErr := m.initrdFile()
	config, configErr := m.once("-config.txt", func(file string) error { return cache.WriteFile(file, []byte(rpiConfig)) })
	cmdline, cmdlineErr := m.once("-cmdline.txt", func(file string) error {
		// The firmware reads one line.
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

// firmware are the files of the folder given, in order.
func (m *maker) firmware() (files []fsimage.FATFile, err error) {
	if m.Firmware == "" {
		m.Progress.Note("no firmware given (--firmware): a board needs it in the boot partition")
		return nil, nil
	}
	err = filepath.WalkDir(m.Firmware, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(name) // What a link leads to: FAT has none.
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a file", name)
		}
		rel, relErr := filepath.Rel(m.Firmware, name)
		files = append(files, fsimage.FATFile{Path: filepath.ToSlash(rel), Source: name})
		return errors.Join(err, relErr)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the folder of firmware: %w", err)
	}
	return files, nil
}
