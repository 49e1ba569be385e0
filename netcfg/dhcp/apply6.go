package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"keelson/netcfg/kernel"
	"keelson/netcfg/lease"
)

// configure6 gives a link the address of a lease. Routes are those of router advertisements.
func configure6(link *net.Interface, l lease.Lease, now time.Duration) error {
	device, err := netlink.LinkByIndex(link.Index)
	if err == nil {
		err = netlink.AddrReplace(device, &netlink.Addr{IPNet: ipNet(l.Address), ValidLft: seconds(l.Left(now)), PreferedLft: preferred(l, now), Flags: unix.IFA_F_NOPREFIXROUTE})
	}
	if err != nil {
		return fmt.Errorf("cannot add address %s to %s: %w", l.Address, link.Name, err)
	}
	return nil
}

// preferred returns how long the kernel is to prefer an address for new connections; 0: it is deprecated.
func preferred(l lease.Lease, now time.Duration) int {
	switch l.Preferred {
	case lease.Forever:
		return seconds(lease.Forever)
	case 0: // An earlier version did not write it.
		return seconds(l.Left(now))
	}
	return int(max(0, l.Preferred-now) / time.Second)
}

// remove6 takes the address of a lease from a link.
func remove6(link *net.Interface, l lease.Lease) error {
	device, err := netlink.LinkByIndex(link.Index)
	if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) {
		return nil
	}
	if err == nil {
		err = netlink.AddrDel(device, &netlink.Addr{IPNet: ipNet(l.Address)})
	}
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("cannot remove address %s of %s: %w", l.Address, link.Name, err)
	}
	return nil
}

// verified waits until the kernel has verified that nobody else has an address (RFC 4862 section
// 5.4), and reports whether somebody has: it then removes an address that is not permanent.
func verified(ctx context.Context, link *net.Interface, p netip.Prefix, limit time.Duration) (duplicate bool, err error) {
	watcher, err := kernel.Watch()
	if err != nil {
		return false, err
	}
	defer watcher.Close()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = watcher.Close() })()
	for {
		state, err := kernel.Links()
		if err != nil {
			return false, err
		}
		there := false
		for _, a := range state.Addresses {
			if a.Link != link.Index || a.Prefix != p {
				continue
			}
			if there = true; a.Duplicate || !a.Tentative {
				return a.Duplicate, nil
			}
		}
		for _, l := range state.Links {
			if l.Index == link.Index && l.Up && l.Carrier && !there {
				return true, nil
			}
		}
		if !watcher.Wait() {
			return false, fmt.Errorf("the kernel does not verify %s of %s within %s", p, link.Name, limit)
		}
	}
}

// Flags of IFLA_INET6_FLAGS (net/if_inet6.h): what the last router advertisement says.
const (
	raManaged = 0x40 // addresses are to be had by DHCP
	raOther   = 0x80 // other information is

	inet6Flags = 1 // IFLA_INET6_FLAGS
)

// advertised returns whether routers of a link say that addresses, or other information, are to be had
// by DHCP.
func advertised(index int) (managed, other bool) {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	request.AddData(message)
	answers, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil || len(answers) != 1 || len(answers[0]) < unix.SizeofIfInfomsg {
		return false, false
	}
	flags, ok := nested(answers[0][unix.SizeofIfInfomsg:], unix.IFLA_AF_SPEC, unix.AF_INET6, inet6Flags)
	if !ok || len(flags) < 4 {
		return false, false
	}
	bits := nl.NativeEndian().Uint32(flags)
	return bits&raManaged != 0, bits&raOther != 0
}

// nested returns an attribute of netlink by its path.
func nested(data []byte, path ...uint16) ([]byte, bool) {
	for _, kind := range path {
		attributes, err := nl.ParseRouteAttr(data)
		if err != nil {
			return nil, false
		}
		found := false
		for _, a := range attributes {
			if a.Attr.Type&^unix.NLA_F_NESTED == kind {
				data, found = a.Value, true
			}
		}
		if !found {
			return nil, false
		}
	}
	return data, true
}
