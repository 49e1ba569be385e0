package session

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"keelson/testvm/image/disk"
	"keelson/testvm/image/format"
	"keelson/testvm/qemu"
)

// Image is what a machine boots: a kernel with its files, a disk, or both.
type Image struct {
	Format                  format.Format
	Kernel, Initrd, Cmdline string // two files and a command line
	DTB                     string // file with a board's device tree; may be empty
	Disk                    string // file; may be empty
}

// Find returns the image at path: one of its files, their common prefix, or a folder with
// only one image. Of several formats it returns the named one, by default the first in
// the table.
func Find(path, formatName string) (Image, error) {
	formats, err := candidates(formatName)
	if err != nil {
		return Image{}, err
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		if path, err = only(path, formats); err != nil {
			return Image{}, err
		}
	case err == nil:
		return byFile(path, formatName)
	}
	for _, f := range formats {
		if _, err := os.Stat(path + f.Files[0]); err == nil {
			return load(f, path)
		}
	}
	if _, err := os.Stat(path + kernelSuffix); err == nil && formatName == "" {
		return load(formats[0], path) // The root may be on a disk.
	}
	return Image{}, fmt.Errorf("cannot find an image at %s: there is none of %s (keelson build makes one)", path, endings(formats))
}

// kernelSuffix is the suffix of a kernel's name.
const kernelSuffix = "-kernel"

// candidates returns the formats that a machine can boot, in the table's order.
func candidates(name string) ([]format.Format, error) {
	if name != "" {
		f, err := format.Find(name)
		if err == nil && f.Start == format.Never {
			err = fmt.Errorf("no machine boots format %s", f.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot run: %w", err)
		}
		return []format.Format{f}, nil
	}
	var out []format.Format
	for _, f := range format.Table {
		if f.Start != format.Never {
			out = append(out, f)
		}
	}
	return out, nil
}

func endings(formats []format.Format) string {
	var names []string
	for _, f := range formats {
		names = append(names, f.Files[0])
	}
	return strings.Join(names, ", ")
}

// byFile returns the image that a file belongs to, by the file's name.
func byFile(file, formatName string) (Image, error) {
	f, prefix, ok := format.ByFile(file)
	switch {
	case !ok:
		return Image{}, fmt.Errorf("cannot find the format of %s from its name: give the prefix of an image's files, or --kernel", file)
	case f.Start == format.Never:
		return Image{}, fmt.Errorf("cannot run %s: no machine boots format %s", file, f.Name)
	case formatName != "" && f.Name != formatName:
		return Image{}, fmt.Errorf("cannot run %s as %s: it is %s", file, formatName, f.Name)
	}
	return load(f, prefix)
}

// load names the files of an image and reads its command line.
func load(f format.Format, prefix string) (Image, error) {
	i, cmdlineFile := Image{Format: f}, prefix+"-cmdline"
	switch f.Start {
	case format.ByKernel:
		i.Kernel, i.Initrd = prefix+kernelSuffix, prefix+f.Files[0]
	case format.ByRoot:
		i.Kernel, i.Disk, i.Initrd, cmdlineFile = prefix+f.Files[2], prefix+f.Files[0], prefix+f.Files[1], prefix+f.Files[3]
	default:
		i.Disk = prefix + f.Files[0]
		if _, err := os.Stat(prefix + kernelSuffix); err == nil {
			i.Kernel = prefix + kernelSuffix // For the test whether KVM runs it.
		}
		return i, nil
	}
	if _, err := os.Stat(i.Kernel); err != nil {
		return i, fmt.Errorf("cannot find the kernel of image %s: %w", prefix, err)
	}
	if _, err := os.Stat(i.Initrd); errors.Is(err, fs.ErrNotExist) {
		i.Initrd = "" // The initramfs is built into the kernel, or the root is on a disk.
	}
	cmdline, err := os.ReadFile(cmdlineFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return i, fmt.Errorf("cannot read the image's command line: %w", err)
	}
	i.Cmdline = strings.TrimSpace(string(cmdline))
	return i, nil
}

// board is the name of the device tree of the board that QEMU emulates.
const board = "bcm2837-rpi-3-b.dtb"

// Unpack does the work of a board's firmware, which QEMU lacks: it copies kernel, initrd,
// command line and device tree from the disk to files in dir. Other images are returned
// unchanged.
func (i Image) Unpack(dir string) (Image, error) {
	if i.Format.Start != format.ByBoard {
		return i, nil
	}
	if err := disk.Unpack(i.Disk, dir, disk.BoardKernel, disk.BoardInitrd, disk.BoardCmdline, board); err != nil {
		return i, err
	}
	cmdline, err := os.ReadFile(filepath.Join(dir, disk.BoardCmdline))
	if err != nil {
		return i, fmt.Errorf("cannot read the image's command line: %w", err)
	}
	i.Cmdline = strings.TrimSpace(string(cmdline))
	i.Kernel, i.Initrd, i.DTB = filepath.Join(dir, disk.BoardKernel), filepath.Join(dir, disk.BoardInitrd), filepath.Join(dir, board)
	return i, nil
}

// only returns the prefix of the only image in a folder.
func only(dir string, formats []format.Format) (string, error) {
	var prefixes []string
	add := func(suffix string) error {
		files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		for _, file := range files {
			if f, prefix, ok := format.ByFile(file); ok && f.Files[0] == suffix || !ok && suffix == kernelSuffix {
				prefixes = append(prefixes, prefix)
			}
		}
		return err
	}
	errs := []error{add(kernelSuffix)}
	for _, f := range formats {
		errs = append(errs, add(f.Files[0]))
	}
	if err := errors.Join(errs...); err != nil {
		return "", fmt.Errorf("cannot search %s: %w", dir, err)
	}
	slices.Sort(prefixes)
	prefixes = slices.Compact(prefixes)
	switch len(prefixes) {
	case 0:
		return "", fmt.Errorf("cannot find an image in %s: no file ends in one of %s (keelson build makes one)", dir, endings(formats))
	case 1:
		return prefixes[0], nil
	}
	return "", fmt.Errorf("cannot choose between %d images in %s: name one, as in %s", len(prefixes), dir, prefixes[0])
}

// Arch returns the architecture of the image's kernel or of the program that firmware
// starts, or "" if it is unknown.
func (i Image) Arch() (string, error) {
	switch {
	case i.Kernel != "":
		return qemu.DetectArch(i.Kernel)
	case i.Format.Start == format.ByBIOS:
		return qemu.AMD64, nil
	case i.Format.Start == format.ByBoard:
		return qemu.ARM64, nil
	case strings.HasSuffix(i.Disk, ".qcow2"):
		return "", nil
	}
	return disk.EFIArch(i.Disk)
}

// rootDevice is Linux's name of the first disk on a bus.
var rootDevice = map[string]string{
	"": "/dev/vda", format.Virtio: "/dev/vda", format.NVMe: "/dev/nvme0n1", format.SATA: "/dev/sda",
	format.IDE: "/dev/sda", format.USB: "/dev/sda", format.SD: "/dev/mmcblk0", format.CDROM: "/dev/sr0",
}

// writable are the buses on which QEMU has no read-only disks.
var writable = []string{format.SATA, format.IDE, format.SD}

// Machine adds the image to a machine: its disk first, on the given bus, and the
// parameters for a root on a disk to the command line.
func (i Image) Machine(c qemu.Config, bus string) qemu.Config {
	c.Kernel, c.Initrd, c.Append, c.DTB = i.Kernel, i.Initrd, i.Cmdline, i.DTB
	if i.Disk == "" {
		return c
	}
	d := qemu.Disk{Path: i.Disk, Bus: bus}
	if strings.HasSuffix(i.Disk, ".qcow2") {
		d.Format = "qcow2"
	}
	switch i.Format.Start {
	case format.ByUEFI:
		c.Firmware = qemu.UEFI
	case format.ByBIOS:
		c.Firmware = qemu.BIOS
	case format.ByBoard:
		c.Machine, d.Bus = cmp.Or(c.Machine, format.Raspi3B), cmp.Or(bus, format.SD)
	case format.ByRoot:
		c.Machine = cmp.Or(c.Machine, i.Format.Machine)
		d.ReadOnly = !slices.Contains(writable, bus)
	}
	if d.Bus == "" && strings.HasSuffix(i.Disk, ".iso") {
		d.Bus = format.CDROM
	}
	c.Disks = append([]qemu.Disk{d}, c.Disks...)
	if i.Format.Start == format.ByRoot && !strings.Contains(" "+c.Append, " root=") {
		c.Append = strings.TrimSpace(fmt.Sprintf("%s root=%s rootfstype=%s ro", c.Append, rootDevice[bus], i.Format.Root))
	}
	return c
}
