package netcfg

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// address parses an optional address; 0.0.0.0 counts as missing.
func (p *parser) address(field, text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	inner, bracket := strings.CutPrefix(text, "[")
	if bracket {
		inner = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(inner)
	if err != nil || addr.Is4() == bracket || addr.Zone() != "" {
		p.bad(field, "%q is neither an IPv4 address nor an IPv6 address in brackets", text)
		return netip.Addr{}
	}
	if addr.IsUnspecified() {
		return netip.Addr{}
	}
	return addr
}

// broadcast is the limited broadcast address (RFC 919).
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// client parses the address, optionally with its prefix length, and the netmask.
func (p *parser) client(text, mask string) {
	if inside, ok := strings.CutSuffix(text, "]"); ok && strings.Contains(inside, "/") { // [fd00::1/64]
		address, bits, _ := strings.Cut(inside, "/")
		text = address + "]/" + bits
	}
	text, bits, given := strings.Cut(text, "/")
	if given && mask == "" {
		mask = bits
	}
	switch addr := p.address("client", text); {
	case !addr.IsValid():
	case addr.IsMulticast() || addr == netip.IPv6Loopback() || addr == broadcast:
		p.bad("client", "%s is not the address of one device", addr)
	default:
		p.Client = netip.PrefixFrom(addr, p.netmask(mask, addr))
	}
}

func (p *parser) netmask(mask string, client netip.Addr) int {
	if mask == "" {
		return defaultBits(client)
	}
	if bits, err := strconv.Atoi(mask); err == nil {
		if bits >= 0 && bits <= client.BitLen() {
			return bits
		}
		p.bad("netmask", "prefix length %s is not within 0 and %d", mask, client.BitLen())
		return defaultBits(client)
	}
	addr, err := netip.ParseAddr(mask)
	if err != nil || !addr.Is4() || !client.Is4() {
		p.bad("netmask", "%q is no netmask of %s", mask, client)
		return defaultBits(client)
	}
	ones, bits := net.IPMask(addr.AsSlice()).Size()
	if bits == 0 {
		p.bad("netmask", "%q has holes", mask)
		return defaultBits(client)
	}
	return ones
}

func (p *parser) gateway(text string) {
	gateway := p.address("gw", text)
	switch {
	case !gateway.IsValid():
	case !p.Client.IsValid():
		p.bad("gw", "there is no client address to use it with")
	case gateway.Is4() != p.Client.Addr().Is4():
		p.bad("gw", "%s and the client address %s are of different families", gateway, p.Client.Addr())
	case gateway.IsMulticast() || gateway.IsLoopback() || gateway == broadcast || gateway == p.Client.Addr():
		p.bad("gw", "%s is not the address of another device", gateway)
	default:
		p.Gateway = gateway
	}
}

// defaultBits is the prefix length of the address's class (RFC 791), or that of
// a single IPv6 address.
func defaultBits(addr netip.Addr) int {
	if !addr.Is4() {
		return 128
	}
	switch first := addr.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	}
	return 24
}
