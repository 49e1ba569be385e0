package netcfg

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoLink is returned for a link that does not exist.
var ErrNoLink = errors.New("no such link")

// Loopback brings lo up with 127.0.0.1/8 and, where the kernel has IPv6, ::1.
func Loopback() error {
	lo, err := linkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("cannot bring lo up: %w", err)
	}
	if err := addAddress(lo, "127.0.0.1/8"); err != nil {
		return err
	}
	err = addAddress(lo, "::1/128")
	for _, without := range []error{unix.EAFNOSUPPORT, unix.EOPNOTSUPP, unix.EACCES, unix.EPERM} {
		if errors.Is(err, without) {
			return nil // The kernel has no IPv6, or it is disabled.
		}
	}
	return err
}

// addAddress adds an address in CIDR form. An existing address is not an error.
func addAddress(link netlink.Link, cidr string) error {
	addr, err := netlink.ParseAddr(cidr)
	if err == nil {
		err = netlink.AddrAdd(link, addr)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("cannot add %s to %s: %w", cidr, link.Attrs().Name, err)
	}
	return nil
}

// HardwareAddr returns the hardware address of the link called name, as in
// "52:54:00:12:34:56".
func HardwareAddr(name string) (string, error) {
	link, err := linkByName(name)
	if err != nil {
		return "", err
	}
	if addr := link.Attrs().HardwareAddr; len(addr) > 0 {
		return addr.String(), nil
	}
	return "", fmt.Errorf("link %s has no hardware address", name)
}

func linkByName(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, linkError(name, err)
	}
	return link, nil
}

func linkError(name string, err error) error {
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		err = ErrNoLink
	}
	return fmt.Errorf("cannot find link %s: %w", strings.TrimSpace(name), err)
}
