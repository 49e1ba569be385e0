package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// tcpCheck is good when something listens.
func tcpCheck(target string, c Container) (func(context.Context) error, error) {
	all, err := addresses(target)
	return func(ctx context.Context) error {
		return each(all, func(addr netip.AddrPort) error {
			conn, err := dial(ctx, c.PID, addr)
			if err != nil {
				return fmt.Errorf("tcp %s: %w", addr, err)
			}
			return conn.Close()
		})
	}, err
}

// each tries one after the other; of several errors, the first is told.
func each(all []netip.AddrPort, try func(netip.AddrPort) error) error {
	var first error
	for _, addr := range all {
		err := try(addr)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// dial connects from the network namespace of process pid. The connection
// ends with ctx.
func dial(ctx context.Context, pid int, addr netip.AddrPort) (*conn, error) {
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()})
	if addr.Addr().Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	fd, err := -1, error(nil)
	entered := inNetNS(pid, func() {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	})
	if err := errors.Join(entered, err); err != nil {
		return nil, err
	}
	return connect(ctx, fd, to)
}

// conn is a connection that its context closes.
type conn struct {
	*os.File
	stop func() bool
}

func (c *conn) Close() error {
	c.stop()
	return c.File.Close()
}

// connect takes a socket that does not block.
func connect(ctx context.Context, fd int, to unix.Sockaddr) (*conn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	c := &conn{File: f, stop: context.AfterFunc(ctx, func() { _ = f.Close() })}
	err := c.connect(fd, to)
	if ctx.Err() != nil {
		err = errNoAnswer
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (c *conn) connect(fd int, to unix.Sockaddr) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var answer error
	err = raw.Write(func(uintptr) bool {
		answer = unix.Connect(fd, to)
		if answer == unix.EISCONN || answer == nil {
			answer = refuseSelf(fd)
		}
		return answer != unix.EINPROGRESS && answer != unix.EALREADY && answer != unix.EINTR
	})
	if err != nil {
		return err
	}
	return answer
}

// refuseSelf: where nobody listens, TCP may connect a socket to itself, when
// its own port happens to be the one looked for.
func refuseSelf(fd int) error {
	own, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return err
	}
	if sameInet(own, peer) {
		return unix.ECONNREFUSED
	}
	return nil
}

func sameInet(a, b unix.Sockaddr) bool {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		b, ok := b.(*unix.SockaddrInet4)
		return ok && a.Port == b.Port && a.Addr == b.Addr
	case *unix.SockaddrInet6:
		b, ok := b.(*unix.SockaddrInet6)
		return ok && a.Port == b.Port && a.Addr == b.Addr
	}
	return false
}

// inNetNS calls f in the network namespace of process pid, on a thread of its
// own where that is not the caller's.
func inNetNS(pid int, f func()) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("cannot enter network of process %d: %w", pid, err)
	}
	defer ns.Close()
	there, err := ns.Stat()
	if err != nil {
		return fmt.Errorf("cannot enter network of process %d: %w", pid, err)
	}
	if here, err := os.Stat("/proc/thread-self/ns/net"); err == nil && os.SameFile(here, there) {
		f()
		return nil
	}
	done := make(chan error)
	go onSpareThread(func() {
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			f()
		} else {
			err = fmt.Errorf("cannot enter network of process %d: %w", pid, err)
		}
		done <- err
	})
	return <-done
}

// onSpareThread calls f on a thread that ends with this goroutine, since that
// is never unlocked. It spares the main thread, which cannot end and whose
// namespaces are seen as those of the process.
func onSpareThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		onSpareThread(f)
	}()
	<-done // Until then nobody else gets this thread.
}
