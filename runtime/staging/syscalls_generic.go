//go:build arm64 || riscv64

package staging

import "golang.org/x/sys/unix"

const (
	x32Calls   = 1 << 31 // There are none.
	cloneFlags = dataArgs
)

// ownCalls are denied calls that not all architectures have.
var ownCalls = []uint32{unix.SYS_ACCEPT, unix.SYS_SEMOP, unix.SYS_SETRLIMIT, unix.SYS_KEXEC_FILE_LOAD}
