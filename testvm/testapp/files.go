package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// files keeps a process from opening any more files, for a while
// (RLIMIT_NOFILE of prlimit(2)). It cannot start programs meanwhile, which would
// inherit that for good. A containerd that does not listen yet is left alone: it
// would take all shims for dead, which it cannot connect to, and kill their
// containers.
func files(args []string) error {
	pid, err := strconv.Atoi(arg(args, 0))
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(arg(args, 1))
	if err != nil {
		return err
	}
	if starting, err := containerdStarts(pid); err != nil || starting {
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

// containerdStarts tells whether a process is a containerd that does not listen
// yet: it is not the one at the other end of its socket (SO_PEERCRED of unix(7)).
func containerdStarts(pid int) (bool, error) {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || strings.TrimSpace(string(comm)) != "containerd" {
		return false, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: "/run/containerd/containerd.sock"}); err != nil {
		return true, nil
	}
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err == nil && int(peer.Pid) != pid, err
}
