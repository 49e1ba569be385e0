package dhcp

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"keelson/netcfg/lease"
)

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// seconds returns how long the kernel is to keep an address.
func seconds(d time.Duration) int {
	if d == lease.Forever {
		return math.MaxUint32
	}
	return max(1, int(d/time.Second))
}

// configure gives a link the address and the routes of a lease, and removes routes of the lease
// before. The kernel removes the address itself when the lease ends, also if this program has
// ended.
func configure(link *net.Interface, l lease.Lease, o lease.Options, now time.Duration) error {
	device, err := netlink.LinkByIndex(link.Index)
	if err != nil {
		return fmt.Errorf("cannot configure %s: %w", link.Name, err)
	}
	var errs []error
	if o.UseMTU && l.MTU > 0 && l.MTU != device.Attrs().MTU {
		if err := netlink.LinkSetMTU(device, l.MTU); err != nil {
			errs = append(errs, fmt.Errorf("cannot set the mtu of %s to %d: %w", link.Name, l.MTU, err))
		}
	}
	left := seconds(l.Left(now))
	// The route to the network has the metric of the others.
	a := &netlink.Addr{IPNet: ipNet(l.Address), Broadcast: broadcast(l.Address), ValidLft: left, PreferedLft: left, Flags: unix.IFA_F_NOPREFIXROUTE}
	if err := netlink.AddrReplace(device, a); err != nil {
		return errors.Join(append(errs, fmt.Errorf("cannot add address %s to %s: %w", l.Address, link.Name, err))...)
	}
	wanted := routes(link, l, o)
	there, err := ownRoutes(link)
	errs = append(errs, err)
	for _, r := range there {
		if !contains(wanted, r) {
			errs = append(errs, deleteRoute(r))
		}
	}
	for _, r := range wanted {
		if !contains(there, r) {
			if err := netlink.RouteReplace(&r); err != nil {
				errs = append(errs, fmt.Errorf("cannot add the route to %s of %s: %w", r.Dst, link.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// broadcast returns the broadcast address of a network; nil for one without.
func broadcast(p netip.Prefix) net.IP {
	if p.Bits() > 30 {
		return nil
	}
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return b[:]
}

// routes returns the routes of a lease. Gateways outside of its network are on the link.
func routes(link *net.Interface, l lease.Lease, o lease.Options) []netlink.Route {
	source := net.IP(l.Address.Addr().AsSlice())
	base := netlink.Route{LinkIndex: link.Index, Protocol: unix.RTPROT_DHCP, Priority: o.Metric, Table: unix.RT_TABLE_MAIN, Family: netlink.FAMILY_V4, Src: source}
	var all []netlink.Route
	if l.Address.Bits() < 32 {
		r := base
		r.Dst, r.Scope = ipNet(l.Address.Masked()), netlink.SCOPE_LINK
		all = append(all, r)
	}
	if !o.UseRoutes {
		return all
	}
	for _, want := range l.Routes {
		r := base
		r.Dst = ipNet(want.To)
		if want.Via.IsValid() {
			r.Gw = want.Via.AsSlice()
			if !l.Address.Contains(want.Via) {
				r.SetFlag(netlink.FLAG_ONLINK)
			}
		} else {
			r.Scope = netlink.SCOPE_LINK
		}
		if !contains(all, r) {
			all = append(all, r)
		}
	}
	return all
}

// ownRoutes returns the routes of DHCP of a link.
func ownRoutes(link *net.Interface) ([]netlink.Route, error) {
	filter := &netlink.Route{LinkIndex: link.Index, Protocol: unix.RTPROT_DHCP, Table: unix.RT_TABLE_MAIN}
	all, err := netlink.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("cannot list routes of %s: %w", link.Name, err)
	}
	return all, nil
}

func contains(list []netlink.Route, r netlink.Route) bool {
	text := func(n *net.IPNet) string {
		if n == nil {
			return "0.0.0.0/0"
		}
		return n.String()
	}
	for _, other := range list {
		if text(other.Dst) == text(r.Dst) && other.Gw.Equal(r.Gw) && other.Priority == r.Priority && other.Src.Equal(r.Src) {
			return true
		}
	}
	return false
}

func deleteRoute(r netlink.Route) error {
	if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot delete the route to %s: %w", r.Dst, err)
	}
	return nil
}

// remove takes the address and the routes of a lease from a link.
func remove(link *net.Interface, l lease.Lease) error {
	var errs []error
	there, err := ownRoutes(link)
	errs = append(errs, err)
	for _, r := range there {
		if r.Src.Equal(net.IP(l.Address.Addr().AsSlice())) {
			errs = append(errs, deleteRoute(r))
		}
	}
	device, err := netlink.LinkByIndex(link.Index)
	if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) {
		return nil // The address went with it.
	}
	if err == nil {
		err = netlink.AddrDel(device, &netlink.Addr{IPNet: ipNet(l.Address)})
	}
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		errs = append(errs, fmt.Errorf("cannot remove address %s of %s: %w", l.Address, link.Name, err))
	}
	return errors.Join(errs...)
}

// configured reports whether a link has an address.
func configured(link *net.Interface, p netip.Prefix) bool {
	list, err := link.Addrs()
	for _, a := range list {
		if err == nil && a.String() == p.String() {
			return true
		}
	}
	return false
}
