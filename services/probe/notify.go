package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// largestMessage is the size of the largest message taken, in bytes: longer
// ones are dropped.
const largestMessage = 4096

// NotifySocket is the NOTIFY_SOCKET of a service, for its environment.
func NotifySocket(service string) string { return "@keelson/" + service }

// Notify takes a service's messages.
type Notify struct {
	file    *os.File
	teller  *teller
	belongs func(pid int) bool
}

// Listen makes the socket of a service in the network namespace of its
// container's first process, which need not have been started yet. Messages
// are taken from processes for which belongs is true; where it is nil, from
// those in the cgroup that the first process is in now, and below. A process
// that has ended since cannot be found there: it is believed when the network
// namespace, which only those in it can send from, is not the supervisor's own.
//
// When the supervisor has died, the one after it listens at the same name;
// what was sent meanwhile is lost.
func Listen(service string, pid int, belongs func(pid int) bool) (*Notify, error) {
	if belongs == nil {
		own, err := readCgroup(pid)
		if err != nil {
			return nil, fmt.Errorf("cannot listen to %s: %w", service, err)
		}
		apart := !sameNetNS(pid)
		belongs = func(pid int) bool {
			other, err := readCgroup(pid)
			return err == nil && own.holds(other) || apart && ended(pid)
		}
	}
	fd, err := -1, error(nil)
	entered := inNetNS(pid, func() { fd, err = bind(NotifySocket(service)) })
	if err := errors.Join(entered, err); err != nil {
		return nil, fmt.Errorf("cannot listen to %s: %w", service, err)
	}
	return &Notify{file: os.NewFile(uintptr(fd), "notify"), teller: newTeller(), belongs: belongs}, nil
}

// ended tells whether a process is gone or a zombie, whose cgroup of version 1
// is none of its own any more.
func ended(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	state := string(text[strings.LastIndexByte(string(text), ')')+1:]) // behind the name, which may hold anything
	return strings.HasPrefix(state, " Z") || strings.HasPrefix(state, " X")
}

// sameNetNS tells whether a process is in the network namespace of this one.
func sameNetNS(pid int) bool {
	own, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return true
	}
	other, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	return err != nil || os.SameFile(own, other)
}

func bind(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// Before the first message, so that each says who sent it.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: name})
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("cannot bind %s: %w", name, err)
	}
	return fd, nil
}

// Close takes the socket away. Serve returns.
func (n *Notify) Close() error { return n.file.Close() }

// State is what the service has said up to now.
func (n *Notify) State() State {
	s, _ := n.teller.now()
	return s
}

// Serve takes messages until ctx ends or Close; without it nothing arrives. It
// calls news, unless that is nil, when the state is another; signs of life
// are no news.
func (n *Notify) Serve(ctx context.Context, news func(State)) error {
	defer context.AfterFunc(ctx, func() { _ = n.file.Close() })()
	raw, err := n.file.SyscallConn()
	if err != nil {
		return nil // closed
	}
	buffer := make([]byte, largestMessage)
	for {
		size, pid, err := receive(raw, buffer)
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("cannot take messages: %w", err)
		case size == 0 || pid == 0 || !n.belongs(pid):
			continue
		}
		if s, other := n.teller.take(parseMessage(buffer[:size])); other && news != nil {
			news(s)
		}
	}
}
