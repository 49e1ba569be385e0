package handover

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// handler is a signal handler that needs no Go: it sets the byte of handlerPage
// whose index is the number of the signal.
//
//lint:ignore U1000 The kernel calls it.
func handler()

// handlerReturn is what the kernel needs handler to return to, on architectures
// where it has nothing of its own for that.
//
//lint:ignore U1000 The kernel calls it.
func handlerReturn()

// handlerAddresses returns the addresses of handler and handlerReturn; the latter
// is 0 where there is none.
func handlerAddresses() (handler, restorer uintptr)

// handlerPage is read by handler.
//
//lint:ignore U1000 Assembly reads it.
var handlerPage *byte

const (
	saRestorer = 0x04000000
	saOnStack  = 0x08000000
	saRestart  = 0x10000000
)

func rtSigaction(sig syscall.Signal, action, before *sigaction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(before)), 8, 0, 0)
	if errno != 0 {
		return fmt.Errorf("cannot install a handler for signal %d: %w", sig, errno)
	}
	return nil
}

// catch has signals recorded in page from now on. It returns when those that
// arrived before have reached their channels. restore undoes it.
func catch(signals []os.Signal, page []byte) (restore func(), err error) {
	handlerPage = &page[0]
	action := newSigaction(handlerAddresses())
	before := map[syscall.Signal]*sigaction{}
	restore = func() {
		for sig, old := range before {
			_ = rtSigaction(sig, old, nil) // The kernel has accepted it once.
		}
	}
	for _, s := range signals {
		sig, ok := s.(syscall.Signal)
		if !ok {
			continue
		}
		old := new(sigaction)
		if err := rtSigaction(sig, &action, old); err != nil {
			restore()
			return nil, err
		}
		before[sig] = old
	}
	// Stop returns when the runtime has no more signals to deliver.
	idle := make(chan os.Signal, 1)
	signal.Notify(idle, unix.SIGWINCH)
	signal.Stop(idle)
	return restore, nil
}

// hold blocks signals for this thread, the one that execve(2) leaves, and returns
// what undoes it. They stay blocked across execve(2) and signals to the process stay
// pending: the Go runtime would end the new program by them before it has come to
// signal.Notify, which unblocks them.
func hold(signals ...[]os.Signal) (release func()) {
	runtime.LockOSThread()
	var set, before unix.Sigset_t
	for _, sig := range slices.Concat(signals...) {
		addSignal(&set, sig)
	}
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, &set, &before) // It fails on invalid arguments only.
	return func() {
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
		runtime.UnlockOSThread()
	}
}

func addSignal(set *unix.Sigset_t, sig os.Signal) {
	if n, ok := sig.(syscall.Signal); ok {
		const bits = 64
		set.Val[(n-1)/bits] |= 1 << ((n - 1) % bits)
	}
}
