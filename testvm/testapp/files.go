package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// files prevents a process from opening more files for a while (RLIMIT_NOFILE of
// prlimit(2)). The process cannot start programs meanwhile, which would inherit the limit
// permanently. A containerd that does not listen yet is not affected: it could not connect
// to the shims, would take them for dead and kill their containers.
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

// containerdStarts reports whether a process is a containerd that does not listen yet: it
// is not the peer of a connection to its socket (SO_PEERCRED of unix(7)).
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
