//go:build amd64 || arm64 || s390x

package handover

// sigaction is the kernel's struct (include/linux/signal_types.h), with a restorer.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

func newSigaction(handler, restorer uintptr) sigaction {
	a := sigaction{handler: handler, flags: saOnStack | saRestart, restorer: restorer}
	if restorer != 0 {
		a.flags |= saRestorer
	}
	return a
}
