package mounts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	loopMajor = 7
	loopTries = 16 // Others may take the device that was free.
)

// openLoop makes a read-only loop device on a file and opens it. The kernel clears the device when
// nobody has it open any more (loop(4), LO_FLAGS_AUTOCLEAR). It reads the file past the
// page cache where the file system allows that.
func openLoop(file string) (fd int, dev uint64, err error) {
	backing, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, 0, &os.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(backing)
	return tryLoops(backing, file, 0, unix.LO_FLAGS_DIRECT_IO)
}

// openLoopAt is openLoop for the part of an open file that begins at offset. It reads by the page cache:
// the file may just have been written.
func openLoopAt(file *os.File, offset int64) (fd int, dev uint64, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return -1, 0, err
	}
	if closed := raw.Control(func(backing uintptr) { fd, dev, err = tryLoops(int(backing), file.Name(), offset, 0) }); closed != nil {
		return -1, 0, closed
	}
	return fd, dev, err
}

func tryLoops(backing int, file string, offset int64, flags uint32) (fd int, dev uint64, err error) {
	for range loopTries {
		if fd, dev, err = openFreeLoop(backing, file, offset, flags); !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENXIO) || lacking(err) {
			break
		}
	}
	return fd, dev, err
}

func openFreeLoop(backing int, file string, offset int64, flags uint32) (fd int, dev uint64, err error) {
	number, err := freeLoop()
	if err != nil {
		return -1, 0, err
	}
	name := fmt.Sprintf("loop%d", number)
	if dev, err = deviceNumber(sysfsText(filepath.Join(sysBlock, name, "dev"))); err != nil {
		dev = unix.Mkdev(loopMajor, uint32(number))
	}
	config := unix.LoopConfig{Fd: uint32(backing)}
	config.Info.Flags = unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR | flags
	config.Info.Offset = uint64(offset)
	copy(config.Info.File_name[:len(config.Info.File_name)-1], file)
	err = withBlockNode(dev, name, func(path string) error {
		if fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.IoctlLoopConfigure(fd, &config); err != nil {
			unix.Close(fd)
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) {
				return &LackingError{"LOOP_CONFIGURE (Linux 5.8)", err}
			}
			return err
		}
		return nil
	})
	if err != nil {
		return -1, 0, fmt.Errorf("cannot make a loop device (%s) of %s: %w", name, file, err)
	}
	return fd, dev, nil
}

// freeLoop returns the number of a loop device that is free, and makes one if there is none.
func freeLoop() (number int, err error) {
	err = withNode(unix.S_IFCHR, loopControl, "loop-control", func(path string) error {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		number, err = unix.IoctlRetInt(fd, unix.LOOP_CTL_GET_FREE)
		return err
	})
	if err != nil {
		return 0, &LackingError{"loop devices (CONFIG_BLK_DEV_LOOP)", err}
	}
	return number, nil
}

// withBlockNode calls use with the node of a block device in /dev, or with a temporary one
// if /dev does not have it.
func withBlockNode(dev uint64, name string, use func(path string) error) error {
	var st unix.Stat_t
	path := filepath.Join("/dev", name)
	if err := unix.Lstat(path, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK && st.Rdev == dev {
		return use(path)
	}
	return withNode(unix.S_IFBLK, dev, name, use)
}
