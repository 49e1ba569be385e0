package kernel

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// groups are those of rtnetlink messages about links, addresses, routes, rules, and what routers
// advertise.
var groups = []int{
	unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
	unix.RTNLGRP_IPV6_IFINFO,
}

// Watcher tells of changes of links, addresses, routes and rules.
type Watcher struct{ file *os.File }

// Watch begins to watch: changes from now on are not missed.
func Watch() (*Watcher, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot watch the network: %w", os.NewSyscallError("socket", err))
	}
	err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	for _, g := range groups {
		if err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g))
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot watch the network: %w", err)
	}
	return &Watcher{os.NewFile(uintptr(fd), "rtnetlink")}, nil
}

// Wait waits for a change. It returns false after Close. Messages that the kernel has dropped
// count as one: what has changed has to be read anyway.
func (w *Watcher) Wait() bool {
	var buffer [8192]byte
	for {
		_, err := w.file.Read(buffer[:])
		switch {
		case err == nil, errors.Is(err, unix.ENOBUFS):
			return true
		case !errors.Is(err, unix.EINTR):
			return false
		}
	}
}

// Close ends Wait.
func (w *Watcher) Close() error { return w.file.Close() }
