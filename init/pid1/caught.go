package pid1

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// caught is a handler of signals that needs no Go: it sets the byte of caughtPage
// whose index is the signal's number. The runtime's own only remembers a signal,
// for a goroutine to take some time later, and execve(2) ends all threads before
// that: signals would be lost. What caught writes is in the heir.
//
//lint:ignore U1000 The kernel calls it.
func caught()

// caughtAddresses are where caught is, and what the kernel needs it to return to:
// 0 where the kernel has that itself.
func caughtAddresses() (handler, restorer uintptr)

// caughtPage is read by caught.
//
//lint:ignore U1000 It is, in assembly.
var caughtPage *byte

const (
	saRestorer = 0x04000000
	saOnStack  = 0x08000000
	saRestart  = 0x10000000
)

func rtSigaction(sig syscall.Signal, action, before *sigaction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(before)), 8, 0, 0)
	if errno != 0 {
		return fmt.Errorf("cannot take signal %d: %w", sig, errno)
	}
	return nil
}

// catchInto has actions' signals be written to page from now on. It returns when
// those that came before have been handed on to their channels. release undoes
// it.
func catchInto(page []byte) (release func(), err error) {
	caughtPage = &page[0]
	action := newSigaction(caughtAddresses())
	before := map[syscall.Signal]*sigaction{}
	release = func() {
		for sig, old := range before {
			_ = rtSigaction(sig, old, nil) // As it was, it is right.
		}
	}
	for s := range actions {
		sig, old := s.(syscall.Signal), new(sigaction)
		err := rtSigaction(sig, &action, old)
		if err != nil {
			release()
			return nil, err
		}
		before[sig] = old
	}
	// Stop returns when no signal is on its way any more.
	idle := make(chan os.Signal, 1)
	signal.Notify(idle, unix.SIGWINCH)
	signal.Stop(idle)
	return release, nil
}
