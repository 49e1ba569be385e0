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

// tcpCheck is good when something listens.
func tcpCheck(p bundle.Probe, c Container) check {
	d := &dialer{pid: c.PID}
	return check{close: d.close, once: func(ctx context.Context) error {
		return each(p.Addresses, func(addr netip.AddrPort) error {
			conn, err := d.dial(ctx, addr)
			if err != nil {
				return fmt.Errorf("tcp %s: %w", addr, err)
			}
			return conn.Close()
		})
	}}
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

// dialer connects from the network namespace of process pid. Not to need a
// thread for each attempt, it keeps sockets that were refused: Linux lets
// them try again.
type dialer struct {
	pid   int
	spare map[netip.AddrPort]int
}

func (d *dialer) close() {
	for _, fd := range d.spare {
		_ = unix.Close(fd)
	}
}

// dial makes a connection that ends with ctx.
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
		err = unix.Connect(fd, to) // Of the same machine, the answer is there by now.
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		if d.spare == nil {
			d.spare = map[netip.AddrPort]int{}
		}
		d.spare[addr] = fd
		return nil, err
	}
	delete(d.spare, addr)
	return connect(ctx, fd, to) // It goes on with what has begun.
}

func (d *dialer) socket(family int) (fd int, err error) {
	entered := inNetNS(d.pid, func() {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	})
	return fd, errors.Join(entered, err)
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
