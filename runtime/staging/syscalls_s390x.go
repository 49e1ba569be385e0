package staging

import "golang.org/x/sys/unix"

const (
	callArch = unix.AUDIT_ARCH_S390X
	x32Calls = 1 << 31 // There are none.
	// The low half of the second argument, in big-endian order: clone(2) has the stack first.
	cloneFlags = dataArgs + 8 + 4
)

// ownCalls are denied calls that not all architectures have.
var ownCalls = []uint32{
	unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_MKNOD, unix.SYS_SETRLIMIT, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_SOCKETCALL, unix.SYS_IPC,
	unix.SYS_USELIB, unix.SYS_USTAT, unix.SYS_SYSFS, unix.SYS_S390_PCI_MMIO_READ, unix.SYS_S390_PCI_MMIO_WRITE,
}
