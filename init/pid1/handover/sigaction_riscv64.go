package handover

// sigaction is the kernel's struct (include/linux/signal_types.h), without a restorer
// on this architecture.
type sigaction struct {
	handler uintptr
	flags   uint64
	mask    uint64
}

func newSigaction(handler, _ uintptr) sigaction {
	return sigaction{handler: handler, flags: saOnStack | saRestart}
}
