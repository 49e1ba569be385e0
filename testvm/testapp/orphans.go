package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// perParent is the number of orphans of one parent.
const perParent = 100

// orphans makes n orphans. Each parent is a clone of this process that clones its children
// and exits. No program is executed, so thousands of orphans take seconds even in an emulated
// machine.
func orphans(args []string) error {
	n, err := strconv.Atoi(arg(args, 0))
	if err != nil {
		return err
	}
	for left := n; left > 0; left -= perParent {
		pid, errno := cloneParent(min(left, perParent))
		if errno != 0 {
			return fmt.Errorf("cannot clone: %w", errno)
		}
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
			return fmt.Errorf("cannot wait for the parent: %w", err)
		}
		if status.ExitStatus() != 0 {
			return fmt.Errorf("a parent made too few orphans: status %d", status.ExitStatus())
		}
	}
	return mark([]string{"orphans", strconv.Itoa(n)})
}

// cloneParent clones a child that clones n children and exits. Between clone and exit the
// child has one thread and no Go scheduler, so it makes only raw system calls.
//
//go:norace
func cloneParent(n int) (int, syscall.Errno) {
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return int(pid), errno
	}
	for range n {
		child, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
		}
		if child == 0 {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	return 0, 0
}

// wrapContainerd replaces /usr/bin/containerd in one test: it makes orphans, then executes
// the real one. Orphans of containers become children of their shim or runtime, which are
// subreapers; those of programs that PID 1 starts become children of PID 1.
func wrapContainerd(args []string) error {
	const once = "/run/orphans-made"
	if _, err := os.Stat(once); err != nil {
		if err := orphans([]string{"2000"}); err != nil {
			return err
		}
		if err := os.WriteFile(once, nil, 0o600); err != nil {
			return err
		}
	}
	return syscall.Exec("/usr/bin/containerd-real", args, os.Environ())
}
