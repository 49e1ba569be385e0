package pid1

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/runtime/oomscore"
	"keelson/runtime/userspace"
)

// protect keeps this process, and the daemons that inherit it, from being killed
// when memory is short; they give what they start its due. Inside of another
// system a value that somebody chose stays, and so does one we may not lower.
func protect() error {
	if userspace.Inside() {
		own, err := oomscore.Own()
		if err != nil || own != oomscore.Ordinary {
			return err
		}
	}
	err := oomscore.SetOwn(oomscore.Protected)
	if userspace.Inside() && errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// raiseLimits are LinuxKit's; every process inherits them. It has to be
// package syscall's Setrlimit: that makes the runtime forget the limit it
// found at its start, which it would give to children otherwise.
func raiseLimits() error {
	const files = 1 << 20
	infinity := uint64(unix.RLIM_INFINITY)
	err := errors.Join(
		syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: files, Max: files}),
		syscall.Setrlimit(unix.RLIMIT_NPROC, &syscall.Rlimit{Cur: infinity, Max: infinity}),
	)
	if userspace.Inside() && errors.Is(err, unix.EPERM) {
		return raiseSoftLimit()
	}
	if err != nil {
		return fmt.Errorf("cannot raise limits of files and processes: %w", err)
	}
	return nil
}

// raiseSoftLimit takes as many file descriptors as another system allows.
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
