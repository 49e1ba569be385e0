package mounts

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// againDir is the mount point for a file system that is in use without a visible mount.
const againDir = "/dev/.keelson-mount"

// reportHeld makes the file systems of disks that are in use without a visible mount
// read-only, and returns an error for each disk.
func reportHeld() error {
	var errs []error
	for _, d := range heldDevices() {
		what, err := "not made read-only", errors.New("no file system of it can be mounted again")
		mountErr := mountAgain(d, func(target string) error {
			what, err = quiesce(target)
			return err
		})
		switch {
		case errors.Is(mountErr, errKnown):
		case err != nil:
			errs = append(errs, fmt.Errorf("/dev/%s is still in use and may be left dirty: %w", d.name, err))
		default:
			errs = append(errs, fmt.Errorf("/dev/%s is still in use by something that could not be stopped: made %s", d.name, what))
		}
	}
	return errors.Join(errs...)
}

// heldDevices returns the devices that are open exclusively (open(2), O_EXCL on block
// devices) without a visible mount or a device on them.
func heldDevices() []blockDevice {
	devices := blockDevices(sysBlock)
	infos, err := mountinfo.GetMounts(nil)
	if len(devices) == 0 || err != nil {
		return nil
	}
	var held []blockDevice
	for _, d := range suspects(devices, infos) {
		err := withDevice(d, unix.O_EXCL, func(int) error { return nil })
		if errors.Is(err, unix.EBUSY) {
			held = append(held, d)
		}
	}
	return lowest(held)
}

// suspects returns the devices that are neither mounted nor part of another device. An
// inactive loop device has no size.
func suspects(devices []blockDevice, infos []*mountinfo.Info) []blockDevice {
	all := func(*mountinfo.Info) bool { return true }
	known := below(devices, mountedDevices(infos, all)...)
	for _, d := range devices {
		if d.holders == 0 {
			continue
		}
		for dev := range below(devices, d.dev) {
			known[dev] = true
		}
	}
	var list []blockDevice
	for _, d := range devices {
		if d.sectors > 0 && !known[d.dev] {
			list = append(list, d)
		}
	}
	return list
}

// lowest omits disks that are in use through their partitions.
func lowest(held []blockDevice) []blockDevice {
	disks := make(map[string]bool)
	for _, d := range held {
		disks[d.disk] = true
	}
	var list []blockDevice
	for _, d := range held {
		if !disks[d.name] {
			list = append(list, d)
		}
	}
	return list
}

// errKnown is returned for a file system that is mounted elsewhere as well.
var errKnown = errors.New("it is mounted")

// mountAgain mounts the file system of a device that is in use and calls use with the
// mount point. The kernel shares the file system in memory with a mount of the same type,
// and refuses other types (EBUSY).
func mountAgain(d blockDevice, use func(target string) error) error {
	if err := os.Mkdir(againDir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	defer func() { _ = unix.Rmdir(againDir) }()
	return withNode(unix.S_IFBLK, d.dev, d.name, func(path string) error {
		if err := mountAsIs(path); err != nil {
			return err
		}
		defer func() { _ = Unmount(againDir, unix.MNT_DETACH) }()
		if mountedTwice() {
			return errKnown
		}
		return use(againDir)
	})
}

// mountAsIs tries the file system types of the kernel, read-only first: a file system that
// is mounted read-only stays read-only.
func mountAsIs(device string) error {
	text, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	var errs []error
	for _, option := range []string{"ro", "rw"} {
		for line := range strings.Lines(string(text)) {
			fstype, onDisk := strings.CutPrefix(line, "\t")
			if !onDisk {
				continue
			}
			err := Mount(device, againDir, strings.TrimSpace(fstype), []string{option})
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// mountedTwice reports whether the file system at againDir has another mount.
func mountedTwice() bool {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return false
	}
	here := mountedDevices(infos, func(m *mountinfo.Info) bool { return m.Mountpoint == againDir })
	others := mountedDevices(infos, func(m *mountinfo.Info) bool { return m.Mountpoint != againDir })
	for _, dev := range others {
		if len(here) > 0 && dev == here[0] {
			return true
		}
	}
	return false
}
