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

// handler is a signal handler in assembly. It sets the byte of handlerPage whose index
// is the signal number.
//
//lint:ignore U1000 The kernel calls it.
func handler()

// handlerReturn is the code to which handler returns, on architectures where the kernel
// does not provide it.
//
//lint:ignore U1000 The kernel calls it.
func handlerReturn()

// handlerAddresses returns the addresses of handler and handlerReturn. restorer is 0 on
// architectures without handlerReturn.
func handlerAddresses() (handler, restorer uintptr)

// handlerPage is where handler records signals.
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

// catch makes handler record signals in page. It returns when earlier signals have
// reached their channels. restore restores the previous handlers.
func catch(signals []os.Signal, page []byte) (restore func(), err error) {
	handlerPage = &page[0]
	action := newSigaction(handlerAddresses())
	before := map[syscall.Signal]*sigaction{}
	restore = func() {
		for sig, old := range before {
			_ = rtSigaction(sig, old, nil) // The kernel has accepted these arguments before.
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

// hold blocks signals in this thread, which is the one that execve(2) keeps, and returns
// a function that restores the signal mask. They stay blocked across execve(2), so that
// signals stay pending: before the new program calls signal.Notify, which unblocks them,
// the Go runtime would end it.
func hold(signals ...[]os.Signal) (release func()) {
	runtime.LockOSThread()
	var set, before unix.Sigset_t
	for _, sig := range slices.Concat(signals...) {
		addSignal(&set, sig)
	}
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, &set, &before) // It fails only on invalid arguments.
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
