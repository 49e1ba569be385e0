package staging

import "golang.org/x/sys/unix"

const (
	callArch   = unix.AUDIT_ARCH_X86_64
	x32Calls   = 0x40000000 // __X32_SYSCALL_BIT: other numbers for the same calls
	cloneFlags = dataArgs
)

// ownCalls are denied calls that not all architectures have.
var ownCalls = []uint32{
	unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_MKNOD, unix.SYS_ACCEPT, unix.SYS_SEMOP, unix.SYS_SETRLIMIT, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_USELIB, unix.SYS_USTAT, unix.SYS_SYSFS,
}
