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

// stubPackage brings systemd's EFI stub.
const stubPackage = "systemd-boot-efi"

// stubs are where it lies in the package, by architecture.
var stubs = map[string]string{
	format.AMD64: "usr/lib/systemd/boot/efi/linuxx64.efi.stub",
	format.ARM64: "usr/lib/systemd/boot/efi/linuxaa64.efi.stub",
}

// stub is the file given or the one of Debian's package for the target.
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

// ukiFile is the system as one program for UEFI.
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

// osRelease is the system's own. keelson's becomes that of the image: a boot menu
// shows PRETTY_NAME, and several images have the same keelson.
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

// espFile is the EFI system partition with that program in it.
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

// rawEFI is a disk with that partition.
func (m *maker) rawEFI(ctx context.Context) (string, error) {
	esp, err := m.espFile(ctx)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(esp)
	if err != nil {
		return "", err
	}
	data, err := m.dataPartition(ctx, m.Data)
	if err != nil {
		return "", err
	}
	return m.once("-efi.img", func(file string) error {
		return disk.Plan{Scheme: disk.GPT, Size: m.Size, ID: m.id("GPT"),
			Partitions: append([]disk.Partition{{Name: "ESP", Kind: disk.ESP, Size: info.Size(), Content: esp}}, data...)}.Write(file)
	})
}

// made makes a file of the output and tells of it.
func (m *maker) made(f format.Format, make func(file string) error) error {
	task := m.Progress.Start("making " + f.Name)
	err := make(m.path(f.Files[0]))
	task.Done(err)
	m.keep(f.Files[0])
	return err
}

func makeRawEFI(ctx context.Context, m *maker, f format.Format) error {
	return m.made(f, func(string) error {
		_, err := m.rawEFI(ctx)
		return err
	})
}

func makeQcow2EFI(ctx context.Context, m *maker, f format.Format) error {
	return m.made(f, func(file string) error {
		raw, err := m.rawEFI(ctx)
		if err != nil {
			return err
		}
		return fsimage.Qcow2(ctx, raw, file)
	})
}

func makeISOEFI(ctx context.Context, m *maker, f format.Format) error {
	return m.made(f, func(file string) error {
		esp, err := m.espFile(ctx)
		if err != nil {
			return err
		}
		return fsimage.ISO{Volume: m.Name, ESP: esp, Time: m.ModTime, ID: m.id("ISO")}.Make(ctx, file)
	})
}

// mbrProgram is syslinux's program for the first sector, which starts the
// active partition.
const mbrProgram = "/usr/lib/syslinux/mbr/mbr.bin"

func makeRawBIOS(ctx context.Context, m *maker, f format.Format) error {
	return m.made(f, func(file string) error {
		program, err := os.ReadFile(mbrProgram)
		if err != nil {
			return err
		}
		boot, err := m.biosPartition(ctx)
		if err != nil {
			return err
		}
		info, err := os.Stat(boot)
		if err != nil {
			return err
		}
		data, err := m.dataPartition(ctx, m.Data)
		if err != nil {
			return err
		}
		return disk.Plan{Scheme: disk.MBR, Size: m.Size, ID: m.id("MBR"), BootCode: program,
			Partitions: append([]disk.Partition{{Name: "boot", Kind: disk.FAT16, Size: info.Size(), Content: boot, Active: true}}, data...)}.Write(file)
	})
}

// biosPartition holds kernel and initrd, and syslinux to load them.
func (m *maker) biosPartition(ctx context.Context) (string, error) {
	kernel, kernelErr := m.kernelFile()
	initrd, initrdErr := m.initrdFile()
	config, configErr := m.once("-syslinux.cfg", func(file string) error {
		// A line each: the command line must not bring one of its own.
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
