package dhcp

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// bindTo returns a function that binds a socket to a link, whose address other clients may use too.
func bindTo(link string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		failed := c.Control(func(fd uintptr) {
			if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
				err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, link)
			}
		})
		if failed != nil {
			return failed
		}
		return err
	}
}
