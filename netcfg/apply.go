package netcfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Apply sets hardware address, MTU, address and default route of p on its link. It waits
// for the link until ctx ends, and returns the name of the link. A setting that fails is
// in the error and does not prevent others.
//
// rank is the number of default routes that have precedence over this one.
func (p IPParam) Apply(ctx context.Context, rank int) (string, error) {
	link, err := waitLink(ctx, p.Device)
	if err != nil {
		return p.Device, err
	}
	var errs []error
	if len(p.MAC) > 0 {
		if err := SetMAC(link, p.MAC); err != nil {
			errs = append(errs, fmt.Errorf("cannot set field mac of %s to %s: %w", link.Attrs().Name, p.MAC, err))
		}
	}
	if p.MTU > 0 {
		if err := netlink.LinkSetMTU(link, p.MTU); err != nil {
			errs = append(errs, fmt.Errorf("cannot set field mtu of %s to %d: %w", link.Attrs().Name, p.MTU, err))
		}
	}
	if p.Client.IsValid() || p.Up {
		errs = append(errs, p.configure(link, rank))
	}
	return link.Attrs().Name, errors.Join(errs...)
}

// SetMAC sets the hardware address of a link. Most drivers require the link to be down, which it is
// meanwhile.
func SetMAC(link netlink.Link, mac net.HardwareAddr) error {
	err := netlink.LinkSetHardwareAddr(link, mac)
	if errors.Is(err, unix.EBUSY) {
		err = errors.Join(netlink.LinkSetDown(link), netlink.LinkSetHardwareAddr(link, mac), netlink.LinkSetUp(link))
	}
	return err
}

func (p IPParam) configure(link netlink.Link, rank int) error {
	var errs []error
	if p.Client.IsValid() && !hasAddress(link, p.Client.Addr()) {
		errs = append(errs, addAddress(link, p.Client.String()))
	}
	if err := netlink.LinkSetUp(link); err != nil {
		errs = append(errs, fmt.Errorf("cannot bring %s up: %w", link.Attrs().Name, err))
	}
	if p.Gateway.IsValid() {
		if err := netlink.RouteReplace(p.route(link, rank)); err != nil {
			errs = append(errs, fmt.Errorf("cannot route over field gw %s by %s: %w", p.Gateway, link.Attrs().Name, err))
		}
	}
	return errors.Join(errs...)
}

// ipv6Metric is the metric that the kernel uses for 0 with IPv6.
const ipv6Metric = 1024

// route returns the default route. A gateway outside of the prefix is on the link too
// (ip-route(8), onlink): many clouds give each machine a single address.
func (p IPParam) route(link netlink.Link, rank int) *netlink.Route {
	r := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.IP(p.Gateway.AsSlice()), Priority: rank}
	if p.Gateway.Is6() {
		r.Priority += ipv6Metric
	}
	if !p.Client.Contains(p.Gateway) {
		r.SetFlag(netlink.FLAG_ONLINK)
	}
	return r
}

// Rank returns the number of default routes of the same family in list before entry i.
func Rank(list []IPParam, i int) int {
	n := 0
	for _, p := range list[:i] {
		if p.Gateway.IsValid() && p.Gateway.Is4() == list[i].Gateway.Is4() {
			n++
		}
	}
	return n
}

// hasAddress reports whether link has addr with any prefix length: addresses that the
// kernel or an outer system has configured stay.
func hasAddress(link netlink.Link, addr netip.Addr) bool {
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	return err == nil && slices.ContainsFunc(list, func(a netlink.Addr) bool { return a.IP.Equal(net.IP(addr.AsSlice())) })
}

// Present reports whether there is a link that p can be applied to.
func (p IPParam) Present() (bool, error) {
	links, err := links(p.Device)
	return len(links) > 0, err
}

// Configured returns an address that a link of p has, such as from the kernel's own
// `ip=dhcp` (CONFIG_IP_PNP), as "10.0.2.15/24 on eth0"; "" when there is none.
func (p IPParam) Configured() (string, error) {
	links, err := links(p.Device)
	for _, link := range links {
		list, listErr := netlink.AddrList(link, netlink.FAMILY_V4)
		if listErr == nil && len(list) > 0 {
			return list[0].IPNet.String() + " on " + link.Attrs().Name, nil
		}
	}
	return "", err
}

// links returns the links that match name as in waitLink.
func links(name string) ([]netlink.Link, error) {
	list, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("cannot list links: %w", err)
	}
	return slices.DeleteFunc(list, func(l netlink.Link) bool { return !wanted(l, name) }), nil
}

// SetHostName sets the host name, and the NIS domain when there is one.
func (p IPParam) SetHostName() error {
	var errs []error
	if p.Hostname != "" {
		if err := unix.Sethostname([]byte(p.Hostname)); err != nil {
			errs = append(errs, fmt.Errorf("cannot set field hostname %s: %w", p.Hostname, err))
		}
	}
	if p.Domain != "" {
		if err := unix.Setdomainname([]byte(p.Domain)); err != nil {
			errs = append(errs, fmt.Errorf("cannot set the NIS domain of field hostname to %s: %w", p.Domain, err))
		}
	}
	return errors.Join(errs...)
}

// waitLink waits for the link called name, or for "" the first that is not the loopback.
// The kernel reports new links, so it does not poll.
func waitLink(ctx context.Context, name string) (netlink.Link, error) {
	updates := make(chan netlink.LinkUpdate, 16)
	done := make(chan struct{})
	opts := netlink.LinkSubscribeOptions{ListExisting: true}
	if err := netlink.LinkSubscribeWithOptions(updates, done, opts); err != nil {
		return nil, fmt.Errorf("cannot watch links: %w", err)
	}
	defer unsubscribe(updates, done)
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				return nil, ErrWatchEnded
			}
			if u.Header.Type == unix.RTM_NEWLINK && wanted(u.Link, name) {
				return u.Link, nil
			}
		case <-ctx.Done():
			if name == "" {
				name = "other than lo"
			}
			return nil, fmt.Errorf("link %s: %w (%w)", name, ErrNoLink, ctx.Err())
		}
	}
}

// ErrWatchEnded is returned when the kernel has dropped messages about links
// (ENOBUFS of netlink(7)).
var ErrWatchEnded = errors.New("cannot watch links: the kernel's answers ended")

// unsubscribe ends a subscription and discards its pending updates.
func unsubscribe(updates <-chan netlink.LinkUpdate, done chan<- struct{}) {
	close(done)
	for range updates { // Ends when the subscription does.
	}
}

// wanted reports whether a link has the name or, without a name, is an Ethernet device:
// tunnels that the kernel creates (sit0, ip6tnl0) have no Ethernet framing.
func wanted(link netlink.Link, name string) bool {
	a := link.Attrs()
	if name != "" {
		return a.Name == name
	}
	return a.Flags&net.FlagLoopback == 0 && a.EncapType == "ether"
}
