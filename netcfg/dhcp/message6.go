package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"keelson/netcfg/lease"
)

// prefixLimit is how many delegated prefixes are taken.
const prefixLimit = 16

// infinite6 is the lifetime of what does not end (RFC 8415 section 7.7).
const infinite6 = infinite * time.Second

// Limits of the time after which information is asked for again (RFC 8415 section 21.23).
const (
	usualRefresh    = 24 * time.Hour
	shortestRefresh = 10 * time.Minute
)

// identity6 is what a client for IPv6 says of itself.
type identity6 struct {
	mac      net.HardwareAddr
	iaid     [4]byte
	address  bool // asks for an address
	prefixes bool // asks for prefixes
}

func newIdentity6(mac net.HardwareAddr, address, prefixes bool) identity6 {
	i := identity6{mac: mac, address: address, prefixes: prefixes}
	copy(i.iaid[:], mac[max(0, len(mac)-4):])
	return i
}

// duid is a DUID-LL (RFC 8415 section 11.4): the machine has the same one after each boot.
func (i identity6) duid() dhcpv6.DUID {
	return &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: i.mac}
}

// message returns a message. had is the lease that it is about, or the last one, which is a hint; nil:
// none.
func (i identity6) message(kind dhcpv6.MessageType, elapsed time.Duration, had *lease.Lease, server dhcpv6.DUID) (*dhcpv6.Message, error) {
	m, err := dhcpv6.NewMessage()
	if err != nil {
		return nil, err
	}
	m.MessageType = kind
	m.AddOption(dhcpv6.OptClientID(i.duid()))
	if server != nil {
		m.AddOption(dhcpv6.OptServerID(server))
	}
	m.AddOption(dhcpv6.OptElapsedTime(min(max(0, elapsed), 655*time.Second)))
	if kind != dhcpv6.MessageTypeRelease && kind != dhcpv6.MessageTypeDecline {
		m.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList, dhcpv6.OptionNTPServer, dhcpv6.OptionInformationRefreshTime, dhcpv6.OptionSolMaxRT))
	}
	if kind == dhcpv6.MessageTypeInformationRequest {
		return m, nil
	}
	if i.address {
		ia := &dhcpv6.OptIANA{IaId: i.iaid}
		if had != nil && had.Address.IsValid() {
			ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: had.Address.Addr().AsSlice()})
		}
		m.AddOption(ia)
	}
	if i.prefixes {
		ia := &dhcpv6.OptIAPD{IaId: i.iaid}
		if had != nil {
			for _, p := range had.Prefixes {
				ia.Options.Add(&dhcpv6.OptIAPrefix{Prefix: ipNet(p)})
			}
		}
		m.AddOption(ia)
	}
	return m, nil
}

// refused returns why a message refuses what it was asked for; nil if it does not.
func refused(s *dhcpv6.OptStatusCode) error {
	if s == nil || s.StatusCode == iana.StatusSuccess {
		return nil
	}
	return fmt.Errorf("%s", s.StatusCode)
}

// ended reports whether a reply says that a lease in use is none any more (RFC 8415 section
// 18.2.10.1). Other refusals are for the moment.
func ended(reply *dhcpv6.Message) bool {
	ends := func(s *dhcpv6.OptStatusCode) bool {
		return s != nil && (s.StatusCode == iana.StatusNoBinding || s.StatusCode == iana.StatusNotOnLink)
	}
	if ends(reply.Options.Status()) {
		return true
	}
	for _, ia := range reply.Options.IANA() {
		if ends(ia.Options.Status()) {
			return true
		}
	}
	for _, ia := range reply.Options.IAPD() {
		if ends(ia.Options.Status()) {
			return true
		}
	}
	return false
}

// leaseOf6 reads a reply that came at the time now, since the boot.
func leaseOf6(link string, i identity6, reply *dhcpv6.Message, now time.Duration) (lease.Lease, error) {
	l := lease.Lease{Link: link, Family: 6, Obtained: now}
	if err := refused(reply.Options.Status()); err != nil {
		return l, err
	}
	server := reply.Options.ServerID()
	if server == nil {
		return l, errors.New("it does not say which server it is from (option 2)")
	}
	l.ServerID = server.ToBytes()
	l.DNS, l.NTP = servers6(link, reply.Options.DNS()), servers6(link, reply.Options.NTPServers())
	if labels := reply.Options.DomainSearchList(); labels != nil {
		for _, s := range labels.Labels {
			if s = name(s); s != "" && len(l.Search) < searchLimit {
				l.Search = append(l.Search, s)
			}
		}
	}
	var t1, t2, preferred, valid time.Duration
	take := func(p, v time.Duration) bool {
		if v < shortestLease || p > v {
			return false
		}
		if valid == 0 || v < valid {
			preferred, valid = p, v
		}
		return true
	}
	for _, ia := range reply.Options.IANA() {
		if !i.address || ia.IaId != i.iaid || l.Address.IsValid() || refused(ia.Options.Status()) != nil {
			continue
		}
		for _, a := range ia.Options.Addresses() {
			if list := addresses6([]net.IP{a.IPv6Addr}); len(list) == 1 && !list[0].IsLinkLocalUnicast() && take(a.PreferredLifetime, a.ValidLifetime) {
				l.Address = netip.PrefixFrom(list[0], 128)
				t1, t2 = ia.T1, ia.T2
				break
			}
		}
	}
	for _, ia := range reply.Options.IAPD() {
		if !i.prefixes || ia.IaId != i.iaid || refused(ia.Options.Status()) != nil {
			continue
		}
		for _, p := range ia.Options.Prefixes() {
			if p.Prefix == nil || len(l.Prefixes) == prefixLimit {
				continue
			}
			ones, size := p.Prefix.Mask.Size()
			a, ok := netip.AddrFromSlice(p.Prefix.IP)
			if ok && a.Is6() && !a.Is4In6() && size == 128 && ones > 0 && take(p.PreferredLifetime, p.ValidLifetime) {
				l.Prefixes = append(l.Prefixes, netip.PrefixFrom(a, ones).Masked())
				if t1 == 0 || ia.T1 > 0 && ia.T1 < t1 {
					t1, t2 = ia.T1, ia.T2
				}
			}
		}
	}
	if !l.Address.IsValid() && len(l.Prefixes) == 0 {
		return l, errors.New("it has neither an address nor a prefix that can be used")
	}
	if valid >= infinite6 {
		l.Renew, l.Rebind, l.Expires = lease.Forever, lease.Forever, lease.Forever
		return l, nil
	}
	if preferred == 0 || preferred > valid {
		preferred = valid
	}
	if t1 <= 0 || t1 > valid { // RFC 8415 section 14.2: 0.5 and 0.8 of the preferred lifetime.
		t1 = preferred / 2
	}
	if t2 <= 0 || t2 > valid {
		t2 = preferred * 4 / 5
	}
	t2 = max(t1, t2)
	l.Renew, l.Rebind, l.Expires = now+t1, now+t2, now+valid
	return l, nil
}

// informationOf reads a reply to a request for information.
func informationOf(link string, reply *dhcpv6.Message, now time.Duration) (lease.Lease, error) {
	l := lease.Lease{Link: link, Family: 6, Obtained: now, Expires: lease.Forever}
	if err := refused(reply.Options.Status()); err != nil {
		return l, err
	}
	l.DNS, l.NTP = servers6(link, reply.Options.DNS()), servers6(link, reply.Options.NTPServers())
	if labels := reply.Options.DomainSearchList(); labels != nil {
		for _, s := range labels.Labels {
			if s = name(s); s != "" && len(l.Search) < searchLimit {
				l.Search = append(l.Search, s)
			}
		}
	}
	refresh := reply.Options.InformationRefreshTime(usualRefresh)
	if refresh >= infinite6 {
		l.Renew = lease.Forever
	} else {
		l.Renew = now + max(refresh, shortestRefresh)
	}
	l.Rebind = l.Renew
	return l, nil
}

// servers6 returns the servers of a list. Those that are on the link only are reached by its name.
func servers6(link string, list []net.IP) []netip.Addr {
	all := addresses6(list)
	for i, a := range all {
		if a.IsLinkLocalUnicast() {
			all[i] = a.WithZone(link)
		}
	}
	return all
}

// addresses6 returns the addresses of a list that can be used.
func addresses6(list []net.IP) (all []netip.Addr) {
	for _, ip := range list {
		a, ok := netip.AddrFromSlice(ip)
		if ok && a.Is6() && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && len(all) < addressLimit && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}
