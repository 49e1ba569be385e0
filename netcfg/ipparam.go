package netcfg

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrDynamic is that of an `ip=` that asks for DHCP, BOOTP or RARP.
var ErrDynamic = errors.New("dynamic configuration is not done by init: run a DHCP client as an onboot container")

// IPParam is a parsed `ip=`. Addresses that were not given are not valid.
type IPParam struct {
	Off      bool // nothing is to be configured
	Client   netip.Prefix
	Gateway  netip.Addr
	Hostname string
	Device   string // empty: the first that is no loopback
	DNS      []netip.Addr
}

// ParseIP parses the value of the kernel's parameter
//
//	ip=<client>:<server>:<gw>:<netmask>:<hostname>:<device>:<autoconf>:<dns0>:<dns1>:<ntp0>
//
// where all but the client may be empty or missing, or a bare <autoconf>
// word. A missing netmask is that of the address's class, as in the kernel.
// The addresses of NFS and NTP servers are checked and not used.
func ParseIP(value string) (IPParam, error) {
	p, err := parseIP(value)
	if err != nil {
		return IPParam{}, fmt.Errorf("cannot use ip=%s: %w", value, err)
	}
	return p, nil
}

func parseIP(value string) (IPParam, error) {
	fields := strings.Split(value, ":")
	if len(fields) == 1 && fields[0] != "" && fields[0][0] > '9' {
		return autoconf(fields[0])
	}
	if len(fields) > 10 {
		return IPParam{}, fmt.Errorf("%d fields, the kernel knows 10", len(fields))
	}
	fields = append(fields, make([]string, 10-len(fields))...)
	if fields[0] == "" {
		return dynamicOrOff(fields[6])
	}
	if _, err := autoconf(fields[6]); err != nil && !errors.Is(err, ErrDynamic) {
		return IPParam{}, err
	}
	p := IPParam{Hostname: fields[4], Device: fields[5]}
	if strings.ContainsAny(p.Device, "/ \t\n") || len(p.Device) > 15 {
		return IPParam{}, fmt.Errorf("%q is no name for a network device", p.Device)
	}
	return p, p.addresses(fields)
}

// dynamicOrOff is what an `ip=` without a client address means.
func dynamicOrOff(word string) (IPParam, error) {
	if word == "" {
		return IPParam{}, ErrDynamic
	}
	return autoconf(word)
}

func autoconf(word string) (IPParam, error) {
	switch word {
	case "", "off", "none":
		return IPParam{Off: true}, nil
	case "on", "any", "dhcp", "bootp", "rarp", "both", "dhcp6", "auto6":
		return IPParam{}, ErrDynamic
	}
	return IPParam{}, fmt.Errorf("unknown method %q", word)
}

func (p *IPParam) addresses(fields []string) error {
	client, err := ipv4("client address", fields[0])
	if err != nil {
		return err
	}
	bits, err := maskBits(fields[3], client)
	if err != nil {
		return err
	}
	p.Client = netip.PrefixFrom(client, bits)
	if p.Gateway, err = ipv4("gateway", fields[2]); err != nil {
		return err
	}
	for i, name := range map[int]string{1: "server address", 9: "NTP server"} {
		if _, err := ipv4(name, fields[i]); err != nil {
			return err
		}
	}
	for _, field := range fields[7:9] {
		dns, err := ipv4("DNS server", field)
		if err != nil {
			return err
		}
		if dns.IsValid() && !dns.IsUnspecified() {
			p.DNS = append(p.DNS, dns)
		}
	}
	return nil
}

// ipv4 parses an address that may be missing.
func ipv4(what, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || !addr.Is4() {
		return netip.Addr{}, fmt.Errorf("%s %q is not an IPv4 address", what, s)
	}
	return addr, nil
}

func maskBits(mask string, client netip.Addr) (int, error) {
	if mask == "" {
		return classBits(client), nil
	}
	addr, err := ipv4("netmask", mask)
	if err != nil {
		return 0, err
	}
	b := addr.As4()
	word := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	bits := 0
	for word&(1<<31) != 0 {
		word <<= 1
		bits++
	}
	if word != 0 {
		return 0, fmt.Errorf("netmask %q has holes", mask)
	}
	return bits, nil
}

func classBits(addr netip.Addr) int {
	switch first := addr.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	}
	return 24
}
