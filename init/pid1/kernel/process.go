package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/runtime/oomscore"
	"keelson/runtime/threads"
)

// Protect protects this process, and the daemons that inherit its value, from the OOM
// killer; the daemons give the ordinary value to the processes that they start. In
// userspace mode, a value that the outer system set stays, and so does one that this
// process may not lower.
func Protect(machine bool) error {
	if !machine {
		own, err := oomscore.Own()
		if err != nil || own != oomscore.Ordinary {
			return err
		}
	}
	err := oomscore.SetOwn(oomscore.Protected)
	if !machine && errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// RaiseLimits raises the limits of open files and processes to LinuxKit's values; every
// process inherits them. In userspace mode, it raises the limit of files as far as
// allowed. It uses syscall.Setrlimit, after which the Go runtime does not restore in
// children the limit that it found at its start.
func RaiseLimits(machine bool) error {
	const files = 1 << 20
	infinity := uint64(unix.RLIM_INFINITY)
	err := errors.Join(
		syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: files, Max: files}),
		syscall.Setrlimit(unix.RLIMIT_NPROC, &syscall.Rlimit{Cur: infinity, Max: infinity}),
	)
	if !machine && errors.Is(err, unix.EPERM) {
		return raiseSoftLimit()
	}
	if err != nil {
		return fmt.Errorf("cannot raise the limits of files and processes: %w", err)
	}
	return nil
}

// raiseSoftLimit raises the soft limit of open files to the hard limit.
func raiseSoftLimit() error {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	if err == nil {
		limit.Cur = limit.Max
		err = syscall.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
	if err != nil {
		return fmt.Errorf("cannot raise the limit of files: %w", err)
	}
	return nil
}

// threadCount is how many threads PID 1 creates at its start, in addition to those of the
// runtime: two that run Go code, and one for each goroutine that may be in a system call
// at the same time: signals, the two writers of the console, two keepers, the boot list,
// the runtime's poller, and abandoned steps of the shutdown that hang.
const threadCount = 16

// StartThreads creates all threads that PID 1 will ever need: its end, when the kernel
// refuses it a thread, would be a kernel panic.
func StartThreads() {
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	threads.Create(threadCount)
}
