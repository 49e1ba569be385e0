package config

import (
	"net/netip"
)

var (
	scopes     = []string{"global", "link", "host"}
	routeTypes = []string{"unicast", "local", "blackhole", "unreachable", "prohibit", "throw"}
)

func (r *reader) route(field []string, x route) (Route, bool) {
	before := len(r.errs)
	made := Route{Via: x.Via.Addr, From: x.From.Addr, Metric: x.Metric, Table: x.Table, Scope: x.Scope, Type: x.Type, OnLink: x.OnLink, MTU: x.MTU, CWindow: x.Congestion, AWindow: x.Advertised}
	if made.Type == "unicast" {
		made.Type = ""
	}
	r.oneOf(in(field, "scope"), x.Scope, scopes)
	r.oneOf(in(field, "type"), x.Type, routeTypes)
	r.between(in(field, "metric"), x.Metric, 0, metricLimit)
	r.between(in(field, "table"), x.Table, 0, tableLimit)
	if x.MTU != 0 {
		r.between(in(field, "mtu"), x.MTU, mtuLow, mtuHigh)
	}
	for name, v := range map[string]int{"congestion-window": x.Congestion, "advertised-receive-window": x.Advertised} {
		r.between(in(field, name), v, 0, 1<<31-1)
	}
	plain := made.Type == ""
	switch {
	case x.To == "":
		r.errorf(field, "want to, a network or default")
	case x.To == "default":
		made.To = anyOf(made.Via)
		if !made.Via.IsValid() {
			made.To = anyOf(made.From)
		}
	default:
		to, err := parseNetwork(x.To)
		if err != nil {
			r.errorf(in(field, "to"), "%v, or default", err)
		}
		made.To = to
	}
	switch {
	case len(r.errs) > before:
	case !plain && (x.Via.IsValid() || x.OnLink):
		r.errorf(field, "a route of type %s has no via and no on-link", x.Type)
	case plain && !x.Via.IsValid() && x.Scope != "link" && x.Scope != "host":
		r.errorf(field, "want via, the address of the gateway, or scope: link")
	case x.Via.IsValid() && x.Via.Is4() != made.To.Addr().Is4(), x.From.IsValid() && x.From.Is4() != made.To.Addr().Is4():
		r.errorf(field, "to, via and from are not all of IPv4 or all of IPv6")
	}
	return made, len(r.errs) == before
}

// anyOf returns the network of all addresses of the family of a; of IPv4 if a is invalid.
func anyOf(a netip.Addr) netip.Prefix {
	if a.Is6() {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

func (r *reader) rule(field []string, x rule, kind Kind) (Rule, bool) {
	before := len(r.errs)
	made := Rule{From: x.From.Prefix, To: x.To.Prefix, Table: x.Table, Priority: x.Priority, Mark: x.Mark, TOS: x.TOS}
	r.between(in(field, "table"), x.Table, 0, tableLimit)
	r.between(in(field, "priority"), x.Priority, 0, 1<<31-1)
	r.between(in(field, "mark"), x.Mark, 0, 1<<31-1)
	r.between(in(field, "type-of-service"), x.TOS, 0, 255)
	switch {
	case x.Table == 0 && kind != VRF:
		r.errorf(field, "want table, the number of the table of routes")
	case !x.From.IsValid() && !x.To.IsValid():
		r.errorf(field, "want from or to, a network")
	case x.From.IsValid() && x.To.IsValid() && x.From.Addr().Is4() != x.To.Addr().Is4():
		r.errorf(field, "from and to are not both of IPv4 or of IPv6")
	}
	made.IPv6 = x.From.IsValid() && x.From.Addr().Is6() || x.To.IsValid() && x.To.Addr().Is6()
	return made, len(r.errs) == before
}
