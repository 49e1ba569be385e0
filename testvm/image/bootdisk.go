package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/debian"
	"keelson/testvm/image/disk"
	"keelson/testvm/image/format"
	"keelson/testvm/image/fsimage"
	"keelson/testvm/image/uki"
)

// stubPackage is the Debian package with systemd's EFI stub.
const stubPackage = "systemd-boot-efi"

// stubs are the paths of the stub in the package, by architecture.
var stubs = map[string]string{
	format.AMD64: "usr/lib/systemd/boot/efi/linuxx64.efi.stub",
	format.ARM64: "usr/lib/systemd/boot/efi/linuxaa64.efi.stub",
}

// stub returns the EFI stub: the file given, or else the one in Debian's package.
func (m *maker) stub(ctx context.Context) (string, error) {
	if m.Stub != "" {
		return m.Stub, nil
	}
	return m.once("-stub", func(file string) error {
		data, err := m.fetcher.Debian.Member(ctx, stubPackage, stubs[m.Arch])
		if err != nil {
			return err
		}
		return cache.WriteFile(file, data)
	})
}

// ukiFile writes the system as one program for UEFI (a unified kernel image).
func (m *maker) ukiFile(ctx context.Context) (string, error) {
	i := uki.Image{}
	var errs [5]error
	i.Stub, errs[0] = m.stub(ctx)
	i.Kernel, errs[1] = m.kernelFile()
	i.Initrd, errs[2] = m.initrdFile()
	i.Cmdline, errs[3] = m.cmdlineFile()
	i.OSRelease, errs[4] = m.once("-osrel", func(file string) error { return cache.WriteFile(file, m.osRelease()) })
	objcopy, err := debian.Tool(format.Triple(m.Arch) + "-objcopy")
	if err := errors.Join(append(errs[:], err)...); err != nil {
		return "", err
	}
	return m.once(".efi", func(file string) error { return i.Make(ctx, objcopy, file) })
}

// osRelease returns the system's os-release. In keelson's own, PRETTY_NAME becomes the
// name of the image: a boot menu shows it, and images share keelson's file.
func (m *maker) osRelease() []byte {
	own := []byte("ID=keelson\n")
	if at, err := m.root.Resolve("etc/os-release"); err == nil {
		if e, ok := m.root.Get(at); ok && len(e.Data) > 0 {
			own = e.Data
		}
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(own), "\n")+"\n", "\n")
	if !slices.Contains(lines, "ID=keelson\n") {
		return own
	}
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "PRETTY_NAME=") })
	return fmt.Appendf(nil, "%sPRETTY_NAME=%q\n", strings.Join(lines, ""), m.Name)
}

// espFile writes the EFI system partition with that program.
func (m *maker) espFile(ctx context.Context) (string, error) {
	program, err := m.ukiFile(ctx)
	if err != nil {
		return "", err
	}
	return m.once("-esp.img", func(file string) error {
		return fsimage.FAT{Label: "ESP", Bits: 32, Serial: m.id("ESP").ID(), Time: m.ModTime,
			Files: []fsimage.FATFile{{Path: disk.BootProgram(m.Arch), Source: program}}}.Make(ctx, file)
	})
}

// rawEFI writes a disk with that partition.
func (m *maker) rawEFI(ctx context.Context) (string, error) {
	esp, err := m.espFile(ctx)
	if err != nil {
		return "", err
	}
	partitions, err := m.partitions(ctx, disk.Partition{Name: "ESP", Kind: disk.ESP, Content: esp}, m.Data)
	if err != nil {
		return "", err
	}
	return m.once("-efi.img", func(file string) error {
		return disk.Plan{Scheme: disk.GPT, Size: m.Size, ID: m.id("GPT"), Partitions: partitions}.Write(file)
	})
}

// partitions returns the partitions of a disk: boot, as large as its content, then the
// data partition if there is one.
func (m *maker) partitions(ctx context.Context, boot disk.Partition, data *Data) ([]disk.Partition, error) {
	info, err := os.Stat(boot.Content)
	if err != nil {
		return nil, err
	}
	boot.Size = info.Size()
	more, err := m.dataPartition(ctx, data)
	return append([]disk.Partition{boot}, more...), err
}

// makeFile makes a format that is one file, and reports progress.
func (m *maker) makeFile(f format.Format, make func(file string) error) error {
	task := m.Progress.Start("making " + f.Name)
	err := make(m.path(f.Files[0]))
	task.Done(err)
	m.addOutput(f.Files[0])
	return err
}

func makeRawEFI(ctx context.Context, m *maker, f format.Format) error {
	return m.makeFile(f, func(string) error {
		_, err := m.rawEFI(ctx)
		return err
	})
}

func makeQcow2EFI(ctx context.Context, m *maker, f format.Format) error {
	return m.makeFile(f, func(file string) error {
		raw, err := m.rawEFI(ctx)
		if err != nil {
			return err
		}
		return fsimage.Qcow2(ctx, raw, file)
	})
}

func makeISOEFI(ctx context.Context, m *maker, f format.Format) error {
	return m.makeFile(f, func(file string) error {
		esp, err := m.espFile(ctx)
		if err != nil {
			return err
		}
		return fsimage.ISO{Volume: m.Name, ESP: esp, Time: m.ModTime, ID: m.id("ISO")}.Make(ctx, file)
	})
}

// mbrProgram is syslinux's boot code for the first sector; it starts the active
// partition.
const mbrProgram = "/usr/lib/syslinux/mbr/mbr.bin"

func makeRawBIOS(ctx context.Context, m *maker, f format.Format) error {
	return m.makeFile(f, func(file string) error {
		program, err := os.ReadFile(mbrProgram)
		if err != nil {
			return err
		}
		boot, err := m.biosPartition(ctx)
		if err != nil {
			return err
		}
		partitions, err := m.partitions(ctx, disk.Partition{Name: "boot", Kind: disk.FAT16, Content: boot, Active: true}, m.Data)
		if err != nil {
			return err
		}
		return disk.Plan{Scheme: disk.MBR, Size: m.Size, ID: m.id("MBR"), BootCode: program, Partitions: partitions}.Write(file)
	})
}

// biosPartition writes a partition with kernel, initrd, and syslinux, which loads them.
func (m *maker) biosPartition(ctx context.Context) (string, error) {
	kernel, kernelErr := m.kernelFile()
	initrd, initrdErr := m.initrdFile()
	config, configErr := m.once("-syslinux.cfg", func(file string) error {
		// The format has one line for each setting, so the command line must be one line.
		return cache.WriteFile(file, fmt.Appendf(nil, "DEFAULT linux\nLABEL linux\n  KERNEL /kernel\n  INITRD /initrd.img\n  APPEND %s\n",
			strings.Join(strings.Fields(m.cmdline()), " ")))
	})
	if err := errors.Join(kernelErr, initrdErr, configErr); err != nil {
		return "", err
	}
	return m.once("-boot.img", func(file string) error {
		err := fsimage.FAT{Label: "BOOT", Bits: 16, Serial: m.id("BOOT").ID(), Time: m.ModTime,
			Files: []fsimage.FATFile{{Path: "kernel", Source: kernel}, {Path: "initrd.img", Source: initrd}, {Path: "syslinux.cfg", Source: config}}}.Make(ctx, file)
		if err != nil {
			return err
		}
		return fsimage.Syslinux(ctx, file, m.ModTime)
	})
}
