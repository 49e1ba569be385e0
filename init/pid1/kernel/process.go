package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/runtime/cmdline"
	"keelson/runtime/corecgroup"
	"keelson/runtime/oomscore"
	"keelson/runtime/threads"
)

// Protect protects this process, and the daemons that inherit its value, from the OOM
// killer; the daemons give the ordinary value to the processes that they start. In
// userspace mode, a value that the outer system set stays, and so does one that this
// process may not lower. On a machine, they also get a cgroup with protected memory.
func Protect(machine bool, line cmdline.Line) error {
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
	if machine {
		err = errors.Join(err, reserveMemory(line))
	}
	return err
}

// reserveMemory moves this process to the cgroup of the core, with as much memory as the command
// line says. A bad value is reported by the boot role, and leaves the default.
func reserveMemory(line cmdline.Line) error {
	memory, err := corecgroup.Memory()
	if err != nil {
		return err
	}
	text, _ := line.Last(corecgroup.Parameter)
	reserve, err := corecgroup.ParseReserve(text, memory)
	if err != nil {
		reserve, err = corecgroup.ParseReserve(corecgroup.Default(), memory)
	}
	return errors.Join(err, corecgroup.Join(reserve))
}

// FilesParameter sets the limits of open files of all processes: SOFT:HARD, or one number for
// both.
const FilesParameter = "keelson.nofile"

// The limits of open files without the parameter, those of current container engines and of
// systemd: programs that use select(2) or close each possible descriptor need a low soft
// limit, and others raise it to the hard one, as those in Go do by themselves.
const (
	softFiles = 1024
	hardFiles = 512 << 10
)

// mostFiles is the highest limit that the kernel accepts without fs.nr_open, and leastFiles one
// with which keelson itself still works.
const (
	mostFiles  = 1 << 20
	leastFiles = 256
)

// filesOf returns the limits of open files that a command line asks for.
func filesOf(line cmdline.Line) (syscall.Rlimit, error) {
	usual := syscall.Rlimit{Cur: softFiles, Max: hardFiles}
	text, ok := line.Last(FilesParameter)
	if !ok {
		return usual, nil
	}
	soft, hard, both := strings.Cut(text, ":")
	if !both {
		hard = soft
	}
	s, err := strconv.ParseUint(soft, 10, 32)
	h, hardErr := strconv.ParseUint(hard, 10, 32)
	if err != nil || hardErr != nil || s < leastFiles || s > h || h > mostFiles {
		return usual, fmt.Errorf("%s=%s: want SOFT:HARD or one number, from %d to %d; it is %d:%d", FilesParameter, text, leastFiles, mostFiles, softFiles, hardFiles)
	}
	return syscall.Rlimit{Cur: s, Max: h}, nil
}

// RaiseLimits sets the limit of open files, which a command line may change, and removes that
// of processes; every process inherits them. In userspace mode, it raises the limit of files
// as far as allowed. It uses syscall.Setrlimit, after which the Go runtime does not restore
// in children the limit that it found at its start.
func RaiseLimits(machine bool, line cmdline.Line) error {
	files, _ := filesOf(line) // SetLimits has the error.
	infinity := uint64(unix.RLIM_INFINITY)
	err := errors.Join(
		syscall.Setrlimit(unix.RLIMIT_NOFILE, &files),
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

// EnoughFiles raises the limit of open files if this process could not work with it. One that was
// set before a re-execution, by a command line, stays.
func EnoughFiles() {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < leastFiles {
		_ = RaiseLimits(false, nil) // What needs descriptors reports that there are none.
	}
}

// SetLimits is RaiseLimits, and reports what is wrong with FilesParameter, which has no effect
// then.
func SetLimits(machine bool, line cmdline.Line) error {
	_, wrong := filesOf(line)
	return errors.Join(wrong, RaiseLimits(machine, line))
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
