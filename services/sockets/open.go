package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
)

// backlog is how many connections may wait; the kernel limits it to net.core.somaxconn.
const backlog = 4096

// socket is a socket that is open.
type socket struct {
	bundle.Socket
	file *os.File
	id   fileID // of a Unix socket's path
}

// fileID identifies a file.
type fileID struct{ Dev, Ino uint64 }

// open opens a socket, and listens unless it receives datagrams.
func open(want bundle.Socket) (socket, error) {
	var s socket
	var err error
	switch want.Network {
	case "unix":
		s, err = openUnix(want)
	case "tcp":
		s, err = openIP(want, unix.SOCK_STREAM)
	default:
		s, err = openIP(want, unix.SOCK_DGRAM)
	}
	if err != nil {
		return socket{}, fmt.Errorf("cannot listen on %s: %w", want.Where(), err)
	}
	return s, nil
}

// openIP opens a TCP or UDP socket. For all addresses it uses a socket that takes IPv4 and
// IPv6, and IPv4 alone on a kernel without IPv6.
func openIP(want bundle.Socket, kind int) (socket, error) {
	address := want.Address.Addr()
	if want.Any {
		fd, err := bindIP(unix.AF_INET6, kind, 0, &unix.SockaddrInet6{Port: int(want.Address.Port())})
		if err == nil || !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return newSocket(want, fd), err
		}
	}
	if address.Is4() {
		fd, err := bindIP(unix.AF_INET, kind, 0, &unix.SockaddrInet4{Port: int(want.Address.Port()), Addr: address.As4()})
		return newSocket(want, fd), err
	}
	fd, err := bindIP(unix.AF_INET6, kind, 1, &unix.SockaddrInet6{Port: int(want.Address.Port()), Addr: address.As16()})
	return newSocket(want, fd), err
}

func newSocket(want bundle.Socket, fd int) socket {
	if fd < 0 {
		return socket{}
	}
	return socket{Socket: want, file: os.NewFile(uintptr(fd), want.Where())}
}

func bindIP(family, kind, only6 int, address unix.Sockaddr) (fd int, err error) {
	if fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	if family == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only6)
	}
	if err == nil && kind == unix.SOCK_STREAM { // Connections of an earlier process may remain in TIME_WAIT.
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, address)
	}
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// openUnix opens a stream socket, to which everybody may connect who reaches its path, as
// with systemd.socket(5).
func openUnix(want bundle.Socket) (socket, error) {
	if err := os.MkdirAll(filepath.Dir(want.Path), 0o755); err != nil {
		return socket{}, err
	}
	if err := removeStale(want.Path); err != nil {
		return socket{}, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return socket{}, err
	}
	s := newSocket(want, fd)
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: want.Path}); err == nil {
		s.id = identify(want.Path)
		if err = os.Chmod(want.Path, 0o666); err == nil {
			err = unix.Listen(fd, backlog)
		}
	}
	if err != nil {
		s.close()
		return socket{}, err
	}
	return s, nil
}

// removeStale removes a socket on which nothing listens.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is not a socket has its path")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); !errors.Is(err, unix.ECONNREFUSED) {
		return unix.EADDRINUSE
	}
	return os.Remove(path)
}

// identify returns the ID of a file; zero if it does not exist.
func identify(path string) fileID {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return fileID{}
	}
	return fileID{uint64(st.Dev), st.Ino}
}

// close closes a socket, and removes its path unless that is another file by now.
func (s socket) close() {
	if s.file == nil {
		return
	}
	if s.Network == "unix" && s.id != (fileID{}) && identify(s.Path) == s.id {
		_ = os.Remove(s.Path)
	}
	_ = s.file.Close()
}
