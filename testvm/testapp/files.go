package main

import (
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// files keeps a process from opening any more files, for a while
// (RLIMIT_NOFILE of prlimit(2)). It cannot start programs meanwhile, which would
// inherit that for good.
func files(args []string) error {
	pid, err := strconv.Atoi(arg(args, 0))
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(arg(args, 1))
	if err != nil {
		return err
	}
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return fmt.Errorf("cannot read the limit of process %d: %w", pid, err)
	}
	none := unix.Rlimit{Max: before.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &none, nil); err != nil {
		return fmt.Errorf("cannot set the limit of process %d: %w", pid, err)
	}
	time.Sleep(d)
	return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil)
}
