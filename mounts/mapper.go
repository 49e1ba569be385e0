package mounts

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const mapperNumber = "/sys/class/misc/device-mapper/dev"

// Numbers of control devices (admin-guide/devices.txt). When their driver is a module, the
// kernel loads it on open(2).
var (
	mapperDefault = unix.Mkdev(10, 236)
	loopControl   = unix.Mkdev(10, 237)
)

// mapperControl is an open control device of the device-mapper (linux/dm-ioctl.h).
type mapperControl int

func openMapper() (mapperControl, error) {
	number, err := deviceNumber(sysfsText(mapperNumber))
	if err != nil {
		number = mapperDefault
	}
	fd := -1
	err = withNode(unix.S_IFCHR, number, "mapper/control", func(path string) (err error) {
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, &LackingError{"device-mapper (CONFIG_BLK_DEV_DM)", err}
	}
	return mapperControl(fd), nil
}

func (c mapperControl) close() { unix.Close(int(c)) }

// command returns the head of the argument of an ioctl.
func command(name string, flags uint32) unix.DmIoctl {
	asked := unix.DmIoctl{
		Version: [3]uint32{unix.DM_VERSION_MAJOR}, Flags: flags,
		Data_size: unix.SizeofDmIoctl, Data_start: unix.SizeofDmIoctl,
	}
	copy(asked.Name[:len(asked.Name)-1], name)
	return asked
}

func (c mapperControl) ioctl(request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

// hasVerity returns a LackingError if the kernel does not have dm-verity, also not as a module.
func (c mapperControl) hasVerity() error {
	asked := command("verity", 0)
	if err := c.ioctl(unix.DM_GET_TARGET_VERSION, unsafe.Pointer(&asked)); err != nil && err != unix.ENOTTY { // before Linux 5.4
		return &LackingError{"dm-verity (CONFIG_DM_VERITY)", err}
	}
	return nil
}

// create makes a device without a table and returns its number.
func (c mapperControl) create(name string) (uint64, error) {
	asked := command(name, 0)
	if err := c.ioctl(unix.DM_DEV_CREATE, unsafe.Pointer(&asked)); err != nil {
		return 0, fmt.Errorf("cannot make device-mapper device %s: %w", name, err)
	}
	return asked.Dev, nil
}

// number returns the number of a device that exists.
func (c mapperControl) number(name string) (uint64, error) {
	asked := command(name, 0)
	if err := c.ioctl(unix.DM_DEV_STATUS, unsafe.Pointer(&asked)); err != nil {
		return 0, fmt.Errorf("cannot find device-mapper device %s: %w", name, err)
	}
	return asked.Dev, nil
}

// load gives a device a table with one read-only target, and makes the table active.
func (c mapperControl) load(name string, sectors uint64, target, parameters string) error {
	const head = unix.SizeofDmIoctl + unix.SizeofDmTargetSpec
	buffer := make([]uint64, (head+len(parameters))/8+1) // aligned, and ends with a zero
	asked := (*unix.DmIoctl)(unsafe.Pointer(&buffer[0]))
	*asked = command(name, unix.DM_READONLY_FLAG)
	asked.Data_size, asked.Target_count = uint32(len(buffer)*8), 1
	spec := (*unix.DmTargetSpec)(unsafe.Pointer(&buffer[unix.SizeofDmIoctl/8]))
	spec.Length = sectors
	copy(spec.Target_type[:len(spec.Target_type)-1], target)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&buffer[0])), len(buffer)*8)[head:], parameters)
	err := c.ioctl(unix.DM_TABLE_LOAD, unsafe.Pointer(asked))
	if err == nil {
		resumed := command(name, unix.DM_READONLY_FLAG)
		err = c.ioctl(unix.DM_DEV_SUSPEND, unsafe.Pointer(&resumed)) // without DM_SUSPEND_FLAG: resume
	}
	if err != nil {
		return fmt.Errorf("cannot set up device-mapper device %s (%s %s): %w", name, target, parameters, err)
	}
	return nil
}

// remove removes a device, or has it removed when it is not open any more.
func (c mapperControl) remove(name string) error {
	asked := command(name, unix.DM_DEFERRED_REMOVE)
	if err := c.ioctl(unix.DM_DEV_REMOVE, unsafe.Pointer(&asked)); err != nil {
		return fmt.Errorf("cannot remove device-mapper device %s: %w", name, err)
	}
	return nil
}

// removeMapped removes a device-mapper device by its number.
func removeMapped(dev uint64) error {
	if sysfsText(mapperNumber) == "" {
		return unix.ENXIO
	}
	c, err := openMapper()
	if err != nil {
		return err
	}
	defer c.close()
	asked := command("", 0)
	asked.Dev = dev
	return c.ioctl(unix.DM_DEV_REMOVE, unsafe.Pointer(&asked))
}
