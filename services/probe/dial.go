package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
)

// tcpCheck succeeds when a process listens.
func tcpCheck(p bundle.Probe, c Container) check {
	d := &dialer{pid: c.PID}
	return check{close: d.close, once: func(ctx context.Context) error {
		return anyOf(p.Addresses, func(addr netip.AddrPort) error {
			conn, err := d.dial(ctx, addr)
			if err != nil {
				return fmt.Errorf("tcp %s: %w", addr, err)
			}
			return conn.Close()
		})
	}}
}

// anyOf tries the addresses until one succeeds. If none does, it returns the first error.
func anyOf(all []netip.AddrPort, try func(netip.AddrPort) error) error {
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

// dialer connects from the network namespace of process pid. It keeps sockets whose
// connection was refused, which Linux lets connect again: so not every attempt needs a
// thread.
type dialer struct {
	pid   int
	spare map[netip.AddrPort]int
}

func (d *dialer) close() {
	for _, fd := range d.spare {
		_ = unix.Close(fd)
	}
}

// dial makes a connection that is closed when ctx ends.
func (d *dialer) dial(ctx context.Context, addr netip.AddrPort) (*conn, error) {
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()})
	if addr.Addr().Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	fd, kept := d.spare[addr]
	if !kept {
		var err error
		if fd, err = d.socket(family); err != nil {
			return nil, err
		}
	}
	err := unix.Connect(fd, to)
	if errors.Is(err, unix.EINPROGRESS) {
		err = unix.Connect(fd, to) // On the same machine the answer has arrived.
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		if d.spare == nil {
			d.spare = map[netip.AddrPort]int{}
		}
		d.spare[addr] = fd
		return nil, err
	}
	delete(d.spare, addr)
	return connect(ctx, fd, to) // It waits for the connection that has begun.
}

func (d *dialer) socket(family int) (fd int, err error) {
	entered := inNetNS(d.pid, func() {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	})
	return fd, errors.Join(entered, err)
}

// conn is a connection that is closed when its context ends.
type conn struct {
	*os.File
	stop func() bool
}

func (c *conn) Close() error {
	c.stop()
	return c.File.Close()
}

// connect connects a non-blocking socket.
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

// refuseSelf returns ECONNREFUSED for a socket that is connected to itself: TCP does that
// when nothing listens and the socket's port happens to be the one it connects to.
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

// inNetNS calls f in the network namespace of process pid. If that is not the caller's, f
// runs on another thread.
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
	go onDisposableThread(func() {
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

// onDisposableThread calls f on a thread that ends with this goroutine, since it is never
// unlocked from it. It does not use the main thread, which cannot end, and whose
// namespaces appear as those of the process.
func onDisposableThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		onDisposableThread(f)
	}()
	<-done // Until then no other goroutine runs on the main thread.
}
