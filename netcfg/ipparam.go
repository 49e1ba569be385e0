package netcfg

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// IPParam is a parsed `ip=`. Fields that are missing or not usable have the zero value.
type IPParam struct {
	Client   netip.Prefix
	Gateway  netip.Addr // of the same family as Client, which is valid then
	Hostname string
	Domain   string // NIS domain: what follows the first "." of the host name
	Device   string // empty: the first that is not the loopback
	DNS      []netip.Addr
	MTU      int
	MAC      net.HardwareAddr
	Up       bool   // the link comes up without an address (auto6, link6)
	Dynamic  string // the method, when there is no address and it takes a client for DHCP, BOOTP or RARP
	ClientID string // for DHCP, in hexadecimal: the type and the identifier (RFC 2132 section 9.14); empty: the client's own
}

// NeedsLink reports whether p configures a link.
func (p IPParam) NeedsLink() bool {
	return p.Client.IsValid() || p.Up || p.MTU > 0 || len(p.MAC) > 0
}

// ParseIP parses the value of the kernel's parameter
//
//	ip=<client>:<server>:<gw>:<netmask>:<hostname>:<device>:<autoconf>:<dns0>:<dns1>:<ntp0>
//
// where any may be empty or missing, or a bare <autoconf> word
// (admin-guide/nfs/nfsroot.rst), and the forms of dracut.cmdline(7)
//
//	ip=<device>:<autoconf>[:<mtu>][:<mac>]
//	ip=<client>:<peer>:<gw>:<netmask>:<hostname>:<device>:<autoconf>[:<mtu>][:<mac>]
//
// The netmask may be a prefix length, and IPv6 addresses stand in brackets. A
// missing netmask is that of the address's class, as in the kernel, or 128. The
// addresses of servers, peers and NTP servers are checked and not used.
//
// The error names each field that is not usable; the result has the others.
func ParseIP(value string) (IPParam, error) {
	p := parser{value: value}
	fields := splitFields(value)
	switch {
	case value == "" || len(fields) == 1 && p.word("autoconf", value) || strings.HasPrefix(value, "dhcp,"):
		// The kernel takes an empty value for "off". A DHCP client identifier may hold colons.
		if strings.HasPrefix(value, "dhcp,") {
			p.word("autoconf", value)
		}
	case len(fields) > 1 && isMethod(fields[1]):
		p.word("autoconf", fields[1])
		p.hardware(fields[2:])
		p.device(fields[0]) // Last, since it may clear the others.
	default:
		p.kernelForm(fields)
	}
	return p.IPParam, errors.Join(p.errs...)
}

// parser collects an IPParam and the errors of its fields.
type parser struct {
	IPParam
	value string
	errs  []error
}

func (p *parser) bad(field, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("cannot use field %s of ip=%s: %w", field, p.value, fmt.Errorf(format, args...)))
}

// splitFields splits at colons outside of brackets.
func splitFields(value string) []string {
	var fields []string
	begin, inside := 0, false
	for i := range len(value) {
		switch value[i] {
		case '[':
			inside = true
		case ']':
			inside = false
		case ':':
			if !inside {
				fields = append(fields, value[begin:i])
				begin = i + 1
			}
		}
	}
	return append(fields, value[begin:])
}

const (
	fieldClient = iota
	fieldServer
	fieldGateway
	fieldNetmask
	fieldHostname
	fieldDevice
	fieldAutoconf
	fieldDNS0
	fieldDNS1
	fieldNTP
	fieldCount
)

func (p *parser) kernelForm(fields []string) {
	fields = append(fields, make([]string, max(0, fieldCount-len(fields)))...)
	p.client(fields[fieldClient], fields[fieldNetmask])
	p.gateway(fields[fieldGateway])
	p.hostname(fields[fieldHostname])
	p.address("server", fields[fieldServer])
	if !p.word("autoconf", fields[fieldAutoconf]) {
		p.bad("autoconf", "unknown method %q", fields[fieldAutoconf])
	}
	if fields[fieldClient] == "" && fields[fieldAutoconf] == "" {
		p.Dynamic = "any"
	}
	if fields[fieldClient] != "" { // As in the kernel, a given address takes precedence over the method.
		p.Dynamic = ""
	}
	if tail := fields[fieldDNS0:]; isHardware(tail) {
		p.hardware(tail)
	} else {
		p.servers(fields)
	}
	p.device(fields[fieldDevice]) // Last, since it may clear the others.
}

func (p *parser) servers(fields []string) {
	for i, name := range []string{"dns0", "dns1"} {
		if dns := p.address(name, fields[fieldDNS0+i]); dns.IsValid() {
			p.DNS = append(p.DNS, dns)
		}
	}
	p.address("ntp0", fields[fieldNTP])
	if len(fields) > fieldCount {
		p.bad("11", "the kernel knows %d fields; IPv6 addresses need brackets", fieldCount)
	}
}

// isHardware reports whether the fields after the method are dracut's: an MTU, a hardware
// address, or both.
func isHardware(fields []string) bool {
	_, notMTU := strconv.Atoi(fields[0])
	_, notMAC := net.ParseMAC(joinMAC(fields[1:]))
	return notMTU == nil || notMAC == nil
}

func (p *parser) hardware(fields []string) {
	if len(fields) > 0 && fields[0] != "" {
		mtu, err := strconv.Atoi(fields[0])
		switch {
		case err != nil || mtu < 68 || mtu > 65535: // RFC 791, RFC 1122
			p.bad("mtu", "%q is not a number from 68 to 65535", fields[0])
		case mtu < 1280 && (p.Up || p.Client.IsValid() && p.Client.Addr().Is6()): // RFC 8200
			p.bad("mtu", "%d is less than 1280, the least with IPv6", mtu)
		default:
			p.MTU = mtu
		}
	}
	if len(fields) < 2 {
		return
	}
	if text := joinMAC(fields[1:]); text != "" {
		mac, err := net.ParseMAC(text)
		if err != nil || !unicast(mac) {
			p.bad("mac", "%q is not the hardware address of one Ethernet device", text)
			return
		}
		p.MAC = mac
	}
}

// unicast reports whether a device can have the address (is_valid_ether_addr of the
// kernel's etherdevice.h).
func unicast(mac net.HardwareAddr) bool {
	return len(mac) == 6 && mac[0]&1 == 0 && !bytes.Equal(mac, make([]byte, 6))
}

// joinMAC joins the fields of a hardware address. Empty fields are padding.
func joinMAC(fields []string) string { return strings.TrimRight(strings.Join(fields, ":"), ":") }

// word parses a method and reports whether it is one; "" is.
func (p *parser) word(field, word string) bool {
	switch name, rest, _ := strings.Cut(word, ","); name {
	case "", "off", "none", "static":
	case "auto6", "link6":
		p.Up = true
	case "on", "any", "dhcp", "dhcp4", "dhcp6", "bootp", "rarp", "both", "single-dhcp", "either6", "ibft":
		p.Dynamic = name
		if rest != "" {
			p.clientID(field, rest)
		}
	default:
		return false
	}
	return true
}

// maxClientID is what the kernel keeps of an identifier, in bytes.
const maxClientID = 251

// clientID parses TYPE,IDENTIFIER.
func (p *parser) clientID(field, text string) {
	kind, id, ok := strings.Cut(text, ",")
	n, err := strconv.ParseUint(kind, 0, 8)
	if !ok || err != nil || id == "" || len(id) > maxClientID {
		p.bad(field, "%q is no client identifier: want a type from 0 to 255 and up to %d bytes, such as 1,name", text, maxClientID)
		return
	}
	p.ClientID = hex.EncodeToString(append([]byte{byte(n)}, id...))
}

func isMethod(word string) bool { return word != "" && new(parser).word("", word) }

// device parses the name of a link. When it is not usable, no link is configured.
func (p *parser) device(name string) {
	if name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r\x00") || len(name) > 15 {
		p.bad("device", "%q is no name for a network device", name)
		p.Client, p.Gateway, p.MTU, p.MAC, p.Up = netip.Prefix{}, netip.Addr{}, 0, nil, false
		return
	}
	p.Device = name
}

// hostname parses a name as the kernel does: its first label is the host name.
func (p *parser) hostname(name string) {
	p.Hostname, p.Domain, _ = strings.Cut(name, ".")
	if len(p.Hostname) > 64 || len(p.Domain) > 64 { // sethostname(2)
		p.bad("hostname", "%q is longer than 64 bytes", name)
		p.Hostname, p.Domain = "", ""
	}
}
