package staging

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filter allows what the Go runtime and reading an artifact need. x/net's machine reads
// words in big-endian order, in which the input is therefore.
func TestFilter(t *testing.T) {
	raw, err := filter()
	if err != nil {
		t.Fatal(err)
	}
	program, all := bpf.Disassemble(raw)
	if !all {
		t.Fatal("instructions are not known")
	}
	machine, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	const (
		allowed = unix.SECCOMP_RET_ALLOW
		eperm   = unix.SECCOMP_RET_ERRNO | int(unix.EPERM)
		enosys  = unix.SECCOMP_RET_ERRNO | int(unix.ENOSYS)
		thread  = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	)
	for _, tt := range []struct {
		arch, call, flags uint32
		want              int
	}{
		{callArch, unix.SYS_READ, 0, allowed},
		{callArch, unix.SYS_OPENAT, 0, allowed},
		{callArch, unix.SYS_FCHOWNAT, 0, allowed},
		{callArch, unix.SYS_LSETXATTR, 0, allowed},
		{callArch, unix.SYS_FUTEX, 0, allowed},
		{callArch, unix.SYS_TGKILL, 0, allowed},
		{callArch, unix.SYS_CLONE, thread, allowed},
		{callArch, unix.SYS_CLONE, uint32(unix.SIGCHLD), eperm},
		{callArch, unix.SYS_CLONE, unix.CLONE_NEWUSER | uint32(unix.SIGCHLD), eperm},
		{callArch, unix.SYS_CLONE3, 0, enosys},
		{callArch, unix.SYS_EXECVE, 0, eperm},
		{callArch, unix.SYS_KEXEC_FILE_LOAD, 0, eperm},
		{callArch, newestCall + 1, 0, enosys},
		{callArch, 1 << 31, 0, eperm},
		{callArch + 1, unix.SYS_READ, 0, eperm},
	} {
		data := make([]byte, 64)
		binary.BigEndian.PutUint32(data[dataCall:], tt.call)
		binary.BigEndian.PutUint32(data[dataArch:], tt.arch)
		binary.BigEndian.PutUint32(data[cloneFlags:], tt.flags)
		if got, err := machine.Run(data); err != nil || got != tt.want {
			t.Errorf("arch %#x, call %d, flags %#x: %#x, %v; want %#x", tt.arch, tt.call, tt.flags, got, err, tt.want)
		}
	}
}
