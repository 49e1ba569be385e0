package mounts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	sysBlock     = "/sys/class/block"
	maxDevices   = 4096
	maxSysfsText = 4096
)

// stackKind is the kind of a block device that lies on others.
type stackKind int

const (
	notStacked stackKind = iota
	loopDevice
	mapperDevice
	arrayDevice
)

// blockDevice describes a block device by sysfs (ABI/stable/sysfs-block).
type blockDevice struct {
	name    string
	disk    string // of a partition: the device that holds it
	dev     uint64
	sectors int64 // of 512 bytes; 0 without medium
	kind    stackKind
	slaves  []string // the devices that it lies on
	holders int      // number of devices that lie on it
}

// blockDevices returns the block devices of the machine, without those that are removed
// meanwhile. Without /sys there are none.
func blockDevices(root string) []blockDevice {
	var all []blockDevice
	for _, name := range names(root) {
		if d, err := readBlockDevice(root, name); err == nil {
			all = append(all, d)
		}
	}
	return all
}

func readBlockDevice(root, name string) (blockDevice, error) {
	dir := filepath.Join(root, name)
	dev, err := deviceNumber(sysfsText(dir + "/dev"))
	if err != nil {
		return blockDevice{}, err
	}
	sectors, _ := strconv.ParseInt(sysfsText(dir+"/size"), 10, 64)
	d := blockDevice{name: name, dev: dev, sectors: sectors, slaves: names(dir + "/slaves"), holders: len(names(dir + "/holders"))}
	if sysfsText(dir+"/partition") != "" {
		if link, err := os.Readlink(dir); err == nil {
			d.disk = filepath.Base(filepath.Dir(link))
		}
	}
	switch state := sysfsText(dir + "/md/array_state"); {
	case sysfsText(dir+"/loop/backing_file") != "":
		d.kind = loopDevice
	case sysfsText(dir+"/dm/name") != "":
		d.kind = mapperDevice
	case state != "" && state != "clear":
		d.kind = arrayDevice
	}
	return d, nil
}

// deviceNumber parses MAJOR:MINOR.
func deviceNumber(text string) (uint64, error) {
	first, second, _ := strings.Cut(text, ":")
	major, err := strconv.ParseUint(first, 10, 32)
	minor, err2 := strconv.ParseUint(second, 10, 32)
	if err := errors.Join(err, err2); err != nil {
		return 0, fmt.Errorf("cannot read the device number %q: %w", text, err)
	}
	return unix.Mkdev(uint32(major), uint32(minor)), nil
}

// names lists at most maxDevices entries of a folder.
func names(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	list, _ := f.Readdirnames(maxDevices)
	return list
}

// sysfsText reads a small file without white space around it; "" on errors.
func sysfsText(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	text := make([]byte, maxSysfsText)
	n, _ := unix.Read(fd, text)
	return strings.TrimSpace(string(text[:max(n, 0)]))
}

// withNode calls use with a temporary device node: names in /dev may be missing or be
// other files. When it cannot be made, use gets the name in devtmpfs.
func withNode(mode uint32, dev uint64, name string, use func(path string) error) error {
	path := fmt.Sprintf("/dev/.keelson-%d-%d", unix.Major(dev), unix.Minor(dev))
	_ = unix.Unlink(path)
	if err := unix.Mknod(path, mode|0o600, int(dev)); err != nil {
		return use(filepath.Join("/dev", name))
	}
	defer func() { _ = unix.Unlink(path) }()
	return use(path)
}

// withDevice calls use with a block device opened for reading.
func withDevice(d blockDevice, flags int, use func(fd int) error) error {
	return withNode(unix.S_IFBLK, d.dev, d.name, func(path string) error {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return use(fd)
	})
}
