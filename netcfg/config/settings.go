package config

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// childModes are the modes of links that are made from another one.
var childModes = map[Kind][]string{
	MACVLAN: {"private", "vepa", "bridge", "passthru", "source"},
	IPVLAN:  {"l2", "l3", "l3s"},
}

// Limits of numbers.
const (
	mtuLow, mtuHigh = 68, 65535 // RFC 791; the kernel's highest for Ethernet
	metricLimit     = 1<<31 - 1
	tableLimit      = 1<<31 - 1
)

// link makes what links of all kinds have.
func (r *reader) link(field []string, id string, kind Kind, d *device) Link {
	if kind != Physical {
		r.linkName(field, id)
	}
	if all := r.sections()[id]; len(all) > 1 && all[0] != field[0] {
		r.errorf(field, "%s is in %s too", id, all[0])
	}
	r.renderer(in(field, "renderer"), d.Renderer)
	l := Link{
		ID: id, Kind: kind, MAC: net.HardwareAddr(d.MAC), MTU: d.MTU, AcceptRA: d.AcceptRA, Optional: d.Optional, Search: d.Nameservers.Search,
		DHCP4: r.dhcp(in(field, "dhcp4-overrides"), d, d.DHCP4, d.Overrides4), DHCP6: r.dhcp(in(field, "dhcp6-overrides"), d, d.DHCP6, d.Overrides6),
		Activation: Activation(d.Activation),
	}
	l.DHCP6.Prefixes = d.Overrides6.Prefixes
	if d.Overrides4.Prefixes {
		r.errorf(in(field, "dhcp4-overrides", "request-prefix"), "only DHCPv6 delegates prefixes")
	}
	if d.Critical {
		r.notes = append(r.notes, strings.Join(in(field, "critical"), ".")+": it has no effect: addresses stay when the network service ends")
	}
	r.oneOf(in(field, "activation-mode"), d.Activation, []string{string(Manual), string(Off)})
	r.oneOf(in(field, "dhcp-identifier"), d.DHCPIdentifier, []string{"mac", "duid"})
	if d.MTU != 0 {
		r.between(in(field, "mtu"), d.MTU, mtuLow, mtuHigh)
	}
	if m := d.MAC; len(m) > 0 && (m[0]&1 != 0 || slices.Max(m) == 0) {
		r.errorf(in(field, "macaddress"), "%s cannot be the address of a link", net.HardwareAddr(m))
	}
	for name, used := range map[string]bool{"gateway4": d.Gateway4.Kind != 0, "gateway6": d.Gateway6.Kind != 0} {
		if used {
			r.errorf(in(field, name), "it is no field any more: want routes: [{to: default, via: ADDRESS}]")
		}
	}
	if d.LinkLocal != nil {
		makes := slices.Contains(*d.LinkLocal, "ipv6")
		l.IPv6LL = &makes
		for i, family := range *d.LinkLocal {
			if family != "ipv6" {
				r.errorf(in(field, "link-local", fmt.Sprint(i)), "want ipv6, not %q: link-local addresses of IPv4 are not supported", family)
			}
		}
	}
	for i, a := range d.Addresses {
		if slices.ContainsFunc(l.Addresses, func(b Address) bool { return b.Prefix.Addr() == a.Prefix.Addr() }) {
			r.errorf(in(field, "addresses", fmt.Sprint(i)), "%s is there already", a.Prefix.Addr())
			continue
		}
		l.Addresses = append(l.Addresses, Address(a))
	}
	for _, a := range d.Nameservers.Addresses {
		l.DNS = append(l.DNS, a.Addr)
	}
	for i, s := range d.Nameservers.Search {
		if !DomainName(s) {
			r.errorf(in(field, "nameservers", "search", fmt.Sprint(i)), "%q is no domain name", s)
		}
	}
	for i, x := range d.Routes {
		if made, ok := r.route(in(field, "routes", fmt.Sprint(i)), x); ok {
			l.Routes = append(l.Routes, made)
		}
	}
	for i, x := range d.Rules {
		if made, ok := r.rule(in(field, "routing-policy", fmt.Sprint(i)), x, kind); ok {
			l.Rules = append(l.Rules, made)
		}
	}
	return l
}

// DomainName reports whether a text is a domain name as resolv.conf(5) has them (RFC 1035 section
// 2.3.4 for the lengths).
func DomainName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
		}) {
			return false
		}
	}
	return true
}

func (r *reader) dhcp(field []string, d *device, enabled bool, o overrides) DHCP {
	yes := func(b *bool) bool { return b == nil || *b }
	x := DHCP{
		Enabled: enabled, Identifier: d.DHCPIdentifier, UseDNS: yes(o.UseDNS), UseDomains: o.UseDomains != nil && *o.UseDomains, UseRoutes: yes(o.UseRoutes),
		UseMTU: yes(o.UseMTU), UseHostname: yes(o.UseHostname), UseNTP: yes(o.UseNTP), SendHostname: yes(o.SendHostname), Hostname: o.Hostname, Metric: 100,
	}
	if x.Identifier == "" {
		x.Identifier = "duid"
	}
	if o.RouteMetric != nil {
		x.Metric = *o.RouteMetric
		r.between(in(field, "route-metric"), x.Metric, 0, metricLimit)
	}
	if o.Hostname != "" && !DomainName(o.Hostname) {
		r.errorf(in(field, "hostname"), "%q is no host name", o.Hostname)
	}
	return x
}
