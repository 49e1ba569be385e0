package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/runtime/oomscore"
)

// Protect keeps the kernel from killing this process, and the daemons that inherit
// it, when memory is short; the daemons give what they start the ordinary value.
// Inside another system a value that somebody chose stays, and so does one that this
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

// RaiseLimits raises the limits of open files and processes to LinuxKit's values;
// every process inherits them. Inside another system the limit of files is raised
// as far as that allows. It must be package syscall's Setrlimit: that makes the Go
// runtime forget the limit it found at its start, which it would otherwise restore
// in children.
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

// raiseSoftLimit allows as many open files as the hard limit does.
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

// threads is how many PID 1 has from the start, in addition to the runtime's own: two
// that run Go code, and one for each goroutine that may be in a system call at the
// same time: signals, the two writers of the console, two keepers, the way up, the
// runtime's poller, and steps of the way down that hang and are abandoned.
const threads = 16

// StartThreads makes all threads that PID 1 will ever need. The runtime makes one
// when it finds none idle, never gives one back, and ends the program when the
// kernel refuses it, for want of memory or because there are too many processes.
// In PID 1 that is a panic of the kernel. Goroutines that are locked to their
// threads, all at the same time, need one each.
func StartThreads() {
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	var started, ended sync.WaitGroup
	started.Add(threads)
	for range threads {
		ended.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread() // Else the thread would end with the goroutine.
			started.Done()
			started.Wait()
		})
	}
	ended.Wait()
}
