package main

import (
	"fmt"
	"syscall"
	"unsafe"
)

const enough = 2000

// exhaust takes inotify instances, pending signals (each timer has one) and pages
// of pipes, until the kernel refuses or it has enough.
func exhaust([]string) error {
	instances := count(func() bool {
		_, err := syscall.InotifyInit1(syscall.O_CLOEXEC)
		return err == nil
	})
	timers := count(func() bool {
		var id int32
		_, _, errno := syscall.Syscall(syscall.SYS_TIMER_CREATE, 0, 0, uintptr(unsafe.Pointer(&id)))
		return errno == 0
	})
	pipes := count(func() bool {
		var ends [2]int
		if syscall.Pipe(ends[:]) != nil {
			return false
		}
		_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(ends[0]), syscall.F_SETPIPE_SZ, 1<<20)
		return errno == 0
	})
	fmt.Printf("exhausted: %d inotify instances, %d timers, %d pipes\n", instances, timers, pipes)
	return sleep(nil)
}

func count(take func() bool) (n int) {
	for n < enough && take() {
		n++
	}
	return n
}
