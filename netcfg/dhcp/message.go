package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"keelson/netcfg/lease"
)

// Limits of what is taken of a server, in entries.
const (
	addressLimit = 16
	routeLimit   = 256
	searchLimit  = 32
)

// Times of RFC 2131.
const (
	shortestLease = 4 * time.Second // shorter ones are refused: they end before they can be renewed
	infinite      = 1<<32 - 1       // section 3.3
)

// mtuLow is the smallest MTU that is accepted: what each host must be able to receive (RFC 2132
// section 5.1).
const mtuLow = 576

// hostnameLimit is the length of the longest host name that is sent (HOST_NAME_MAX).
const hostnameLimit = 64

// requested are the options that a server is asked for.
var requested = []dhcpv4.OptionCode{
	dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionHostName, dhcpv4.OptionDomainName, dhcpv4.OptionInterfaceMTU,
	dhcpv4.OptionStaticRoutingTable, dhcpv4.OptionNTPServers, dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionClasslessStaticRoute,
}

// identity is what a client says of itself in each message.
type identity struct {
	mac      net.HardwareAddr
	id       []byte // option 61; nil: none
	hostname string
}

// message returns a message with options.
func (i identity) message(kind dhcpv4.MessageType, more ...dhcpv4.Modifier) (*dhcpv4.DHCPv4, error) {
	modifiers := []dhcpv4.Modifier{
		dhcpv4.WithHwAddr(i.mac), dhcpv4.WithHWType(iana.HWTypeEthernet), dhcpv4.WithMessageType(kind),
	}
	if kind == dhcpv4.MessageTypeDiscover || kind == dhcpv4.MessageTypeRequest {
		modifiers = append(modifiers, dhcpv4.WithRequestedOptions(requested...), dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(1500)))
		if i.hostname != "" {
			modifiers = append(modifiers, dhcpv4.WithOption(dhcpv4.OptHostName(i.hostname)))
		}
	}
	if len(i.id) > 0 {
		modifiers = append(modifiers, dhcpv4.WithOption(dhcpv4.OptClientIdentifier(i.id)))
	}
	return dhcpv4.New(append(modifiers, more...)...)
}

// addresses returns the addresses of a list that can be used.
func addresses(list []net.IP) (all []netip.Addr) {
	for _, ip := range list {
		a, ok := netip.AddrFromSlice(ip)
		if a = a.Unmap(); ok && a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && len(all) < addressLimit && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// address returns an address of a message; the zero one if it has none.
func address(ip net.IP) netip.Addr {
	if list := addresses([]net.IP{ip}); len(list) > 0 {
		return list[0]
	}
	return netip.Addr{}
}

// classBits returns the prefix length of an address by its class (RFC 791), for option 33 and
// for a server that gives no mask.
func classBits(a netip.Addr) int {
	switch first := a.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	}
	return 24
}

// leaseOf reads an ACK that came at the time now, since the boot.
func leaseOf(link string, ack *dhcpv4.DHCPv4, now time.Duration) (lease.Lease, error) {
	l := lease.Lease{Link: link, Family: 4, Obtained: now}
	a := address(ack.YourIPAddr)
	if !a.IsValid() || a.IsLoopback() {
		return l, fmt.Errorf("it has no address that can be used: %s", ack.YourIPAddr)
	}
	bits := classBits(a)
	if mask := ack.SubnetMask(); mask != nil {
		ones, size := mask.Size()
		if size != 32 || ones == 0 {
			return l, fmt.Errorf("it has no mask that can be used: %s", mask)
		}
		bits = ones
	}
	l.Address = netip.PrefixFrom(a, bits)
	if l.Server = address(ack.ServerIdentifier()); !l.Server.IsValid() {
		return l, errors.New("it does not say which server it is from (option 54)")
	}
	seconds, ok := uint32Option(ack, dhcpv4.OptionIPAddressLeaseTime)
	if !ok {
		return l, errors.New("it has no lease time (option 51)")
	}
	if seconds == infinite {
		l.Renew, l.Rebind, l.Expires = lease.Forever, lease.Forever, lease.Forever
	} else {
		length := time.Duration(seconds) * time.Second
		if length < shortestLease {
			return l, fmt.Errorf("its lease time is %s; it must be at least %s", length, shortestLease)
		}
		t1, t2 := length/2, length*7/8
		if v, ok := uint32Option(ack, dhcpv4.OptionRebindingTimeValue); ok && time.Duration(v)*time.Second < length && v > 0 {
			t2 = time.Duration(v) * time.Second
			t1 = min(t1, t2)
		}
		if v, ok := uint32Option(ack, dhcpv4.OptionRenewTimeValue); ok && time.Duration(v)*time.Second <= t2 && v > 0 {
			t1 = time.Duration(v) * time.Second
		}
		l.Renew, l.Rebind, l.Expires = now+t1, now+t2, now+length
	}
	l.Routers, l.DNS, l.NTP = addresses(ack.Router()), addresses(ack.DNS()), addresses(ack.NTPServers())
	l.Hostname, l.Domain = name(ack.HostName()), name(ack.DomainName())
	l.Search = names(ack.DomainSearch())
	if b := ack.Options.Get(dhcpv4.OptionInterfaceMTU); len(b) == 2 {
		if mtu := int(binary.BigEndian.Uint16(b)); mtu >= mtuLow {
			l.MTU = mtu
		}
	}
	l.Routes = routesOf(ack)
	return l, nil
}

func uint32Option(m *dhcpv4.DHCPv4, code dhcpv4.OptionCode) (uint32, bool) {
	b := m.Options.Get(code)
	if len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

// name returns a domain name of a server, or nothing if it is none.
func name(s string) string {
	for len(s) > 0 && (s[len(s)-1] == '.' || s[len(s)-1] == 0) {
		s = s[:len(s)-1]
	}
	if len(s) > 253 {
		return ""
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return ""
		}
	}
	return s
}

// names returns the names of a search list; nil is an empty one.
func names(list *rfc1035label.Labels) (all []string) {
	if list == nil {
		return nil
	}
	for _, s := range list.Labels {
		if s = name(s); s != "" && len(all) < searchLimit {
			all = append(all, s)
		}
	}
	return all
}

// routesOf returns the routes of a message: those of option 121, which excludes the routers and
// option 33 (RFC 3442), or else of those.
func routesOf(m *dhcpv4.DHCPv4) (all []lease.Route) {
	for _, r := range m.ClasslessStaticRoute() {
		if r == nil || r.Dest == nil {
			continue
		}
		ones, size := r.Dest.Mask.Size()
		to, ok := netip.AddrFromSlice(r.Dest.IP)
		if to = to.Unmap(); !ok || size != 32 || !to.Is4() || len(all) == routeLimit {
			continue
		}
		all = append(all, lease.Route{To: netip.PrefixFrom(to, ones).Masked(), Via: address(r.Router)})
	}
	if len(all) > 0 {
		return all
	}
	table := m.Options.Get(dhcpv4.OptionStaticRoutingTable)
	for ; len(table) >= 8 && len(all) < routeLimit; table = table[8:] {
		to, via := netip.AddrFrom4([4]byte(table[:4])), address(net.IP(table[4:8]))
		if via.IsValid() && !to.IsUnspecified() {
			bits := classBits(to)
			if netip.PrefixFrom(to, bits).Masked().Addr() != to {
				bits = 32 // Of one machine.
			}
			all = append(all, lease.Route{To: netip.PrefixFrom(to, bits), Via: via})
		}
	}
	for _, router := range addresses(m.Router()) {
		all = append(all, lease.Route{To: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Via: router})
		break // The first is preferred (RFC 2132 section 3.5).
	}
	return all
}
