package disk

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flags of swapon(2).
const (
	swapPrefer   = 0x8000
	swapPrioMask = 0x7fff
)

// swapOn turns swap on. A priority of 0 is the kernel's choice.
func swapOn(file string, priority int) error {
	path, err := unix.BytePtrFromString(file)
	if err != nil {
		return err
	}
	var flags uintptr
	if priority > 0 {
		flags = swapPrefer | uintptr(priority&swapPrioMask)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), flags, 0); errno != 0 {
		return fmt.Errorf("cannot turn swap on: %w", &os.PathError{Op: "swapon", Path: file, Err: errno})
	}
	return nil
}
