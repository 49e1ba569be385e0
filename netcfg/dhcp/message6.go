package dhcp

import (
	"encoding/binary"
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

// isFor reports whether an answer is for this client.
func (i identity6) isFor(a *dhcpv6.Message) bool {
	id := a.Options.ClientID()
	return id != nil && id.Equal(i.duid())
}

// covered reports whether a lease has what is asked for.
func (i identity6) covered(l lease.Lease) bool {
	return holds(l) && i.address == l.Address.IsValid() && i.prefixes == (len(l.Prefixes) > 0)
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
	if kind == dhcpv6.MessageTypeSolicit {
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
	}
	if kind != dhcpv6.MessageTypeRelease && kind != dhcpv6.MessageTypeDecline && kind != dhcpv6.MessageTypeConfirm {
		m.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList, dhcpv6.OptionNTPServer, dhcpv6.OptionInformationRefreshTime, dhcpv6.OptionSolMaxRT, dhcpv6.OptionInfMaxRT))
	}
	if kind == dhcpv6.MessageTypeInformationRequest {
		return m, nil
	}
	about := kind == dhcpv6.MessageTypeRelease || kind == dhcpv6.MessageTypeDecline || kind == dhcpv6.MessageTypeConfirm // What the client has, and no more.
	if i.address && !(about && !had.Address.IsValid()) {
		ia := &dhcpv6.OptIANA{IaId: i.iaid}
		if had != nil && had.Address.IsValid() {
			ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: had.Address.Addr().AsSlice()})
		}
		m.AddOption(ia)
	}
	if i.prefixes && !(about && len(had.Prefixes) == 0) {
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

// statuses returns the status codes of a reply: of the message, and of each association.
func statuses(reply *dhcpv6.Message) (all []*dhcpv6.OptStatusCode) {
	all = append(all, reply.Options.Status())
	for _, ia := range reply.Options.IANA() {
		all = append(all, ia.Options.Status())
	}
	for _, ia := range reply.Options.IAPD() {
		all = append(all, ia.Options.Status())
	}
	return all
}

func hasStatus(reply *dhcpv6.Message, code iana.StatusCode) bool {
	return slices.ContainsFunc(statuses(reply), func(s *dhcpv6.OptStatusCode) bool { return s != nil && s.StatusCode == code })
}

// notBound reports whether a reply says that the server does not know a lease in use, which it is to be
// asked for then (RFC 8415 section 18.2.10.1).
func notBound(reply *dhcpv6.Message) bool { return hasStatus(reply, iana.StatusNoBinding) }

// ended reports whether a reply says that a lease in use is none any more: it does not fit the link, or
// its address or all of its prefixes have no time left. Other refusals are for the moment.
func ended(reply *dhcpv6.Message, had lease.Lease) bool {
	if hasStatus(reply, iana.StatusNotOnLink) {
		return true
	}
	for _, ia := range reply.Options.IANA() {
		for _, a := range ia.Options.Addresses() {
			if a.ValidLifetime == 0 && had.Address.IsValid() && a.IPv6Addr.Equal(net.IP(had.Address.Addr().AsSlice())) {
				return true
			}
		}
	}
	dead, alive := 0, 0
	for _, ia := range reply.Options.IAPD() {
		for _, p := range ia.Options.Prefixes() {
			if p.ValidLifetime == 0 {
				dead++
			} else {
				alive++
			}
		}
	}
	return len(had.Prefixes) > 0 && dead > 0 && alive == 0
}

// highestPreference is that of a server whose offer is taken at once (RFC 8415 section 18.2.1).
const highestPreference = 255

// preference returns the preference of a server (section 21.8); 0 without one.
func preference(a *dhcpv6.Message) uint8 {
	if o := a.GetOneOption(dhcpv6.OptionPreference); o != nil && len(o.ToBytes()) == 1 {
		return o.ToBytes()[0]
	}
	return 0
}

// maxima are the longest pauses between attempts, which servers may set (sections 21.24 and 21.25).
type maxima struct{ solicit, information time.Duration }

// take takes the maxima of a message.
func (m *maxima) take(a *dhcpv6.Message) {
	for code, limit := range map[dhcpv6.OptionCode]*time.Duration{dhcpv6.OptionSolMaxRT: &m.solicit, dhcpv6.OptionInfMaxRT: &m.information} {
		if o := a.GetOneOption(code); o != nil && len(o.ToBytes()) == 4 {
			if v := binary.BigEndian.Uint32(o.ToBytes()); v >= 60 && v <= 86400 {
				*limit = time.Duration(v) * time.Second
			}
		}
	}
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
	l.Search = names(reply.Options.DomainSearchList())
	var t times6
	for _, ia := range reply.Options.IANA() {
		if !i.address || ia.IaId != i.iaid || l.Address.IsValid() || refused(ia.Options.Status()) != nil || disordered(ia.T1, ia.T2) {
			continue
		}
		for _, a := range ia.Options.Addresses() {
			if list := addresses6([]net.IP{a.IPv6Addr}); len(list) == 1 && !list[0].IsLinkLocalUnicast() && t.take(a.PreferredLifetime, a.ValidLifetime) {
				l.Address, l.Preferred = netip.PrefixFrom(list[0], 128), after(now, a.PreferredLifetime)
				t.begin(ia.T1, ia.T2)
				break
			}
		}
	}
	for _, ia := range reply.Options.IAPD() {
		if !i.prefixes || ia.IaId != i.iaid || refused(ia.Options.Status()) != nil || disordered(ia.T1, ia.T2) {
			continue
		}
		for _, p := range ia.Options.Prefixes() {
			if p.Prefix == nil || len(l.Prefixes) == prefixLimit {
				continue
			}
			ones, size := p.Prefix.Mask.Size()
			a, ok := netip.AddrFromSlice(p.Prefix.IP)
			if ok && a.Is6() && !a.Is4In6() && size == 128 && ones > 0 && t.take(p.PreferredLifetime, p.ValidLifetime) {
				l.Prefixes = append(l.Prefixes, netip.PrefixFrom(a, ones).Masked())
				t.begin(ia.T1, ia.T2)
			}
		}
	}
	if !holds(l) {
		return l, errors.New("it has neither an address nor a prefix that can be used")
	}
	renew, rebind := t.extend()
	l.Renew, l.Rebind, l.Expires = after(now, renew), after(now, rebind), after(now, t.valid)
	return l, nil
}

// after returns the time when a lifetime ends.
func after(now, lifetime time.Duration) time.Duration {
	if lifetime >= infinite6 {
		return lease.Forever
	}
	return now + lifetime
}

// disordered reports whether T1 comes after T2: the association is none then (RFC 8415 sections 21.4 and
// 21.21).
func disordered(t1, t2 time.Duration) bool { return t1 > t2 && t1 > 0 && t2 > 0 }

// times6 are the times of a lease: the shortest lifetimes of what it has, and the earliest T1 with its T2.
// 0 means that the client chooses T1 and T2.
type times6 struct{ t1, t2, preferred, valid time.Duration }

// take takes the lifetimes of an address or prefix, and reports whether it can be used.
func (t *times6) take(preferred, valid time.Duration) bool {
	if valid < shortestLease || preferred > valid {
		return false
	}
	if t.valid == 0 || valid < t.valid {
		t.valid = valid
	}
	if preferred > 0 && (t.preferred == 0 || preferred < t.preferred) {
		t.preferred = preferred
	}
	return true
}

func (t *times6) begin(t1, t2 time.Duration) {
	if t.t1 == 0 || t1 > 0 && t1 < t.t1 {
		t.t1, t.t2 = t1, t2
	}
}

// extend returns T1 and T2. If they are 0, they are 0.5 and 0.8 of the preferred lifetime (section 14.2),
// and if they are infinite, the lease is not extended before it ends. A time after the end is the server's
// mistake, and counts as 0.
func (t times6) extend() (t1, t2 time.Duration) {
	base := t.preferred
	if base == 0 {
		base = t.valid // Nothing is preferred any more.
	}
	t1, t2 = t.t1, t.t2
	if t1 == 0 || t1 > t.valid && t1 < infinite6 {
		if t1 = base; base < infinite6 {
			t1 = base / 2
		}
	}
	if t2 == 0 || t2 > t.valid && t2 < infinite6 {
		if t2 = base; base < infinite6 {
			t2 = base / 5 * 4
		}
	}
	if t1 < infinite6 {
		t2 = max(t1, t2)
	}
	t2 = min(t2, t.valid)
	return min(t1, t2), t2
}

// informationOf reads a reply to a request for information.
func informationOf(link string, reply *dhcpv6.Message, now time.Duration) (lease.Lease, error) {
	l := lease.Lease{Link: link, Family: 6, Obtained: now, Expires: lease.Forever}
	if err := refused(reply.Options.Status()); err != nil {
		return l, err
	}
	l.DNS, l.NTP = servers6(link, reply.Options.DNS()), servers6(link, reply.Options.NTPServers())
	l.Search = names(reply.Options.DomainSearchList())
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
