package dhcp

import (
	"keelson/netcfg/lease"
	"keelson/netcfg/plan"
)

// asks6 is what a link asks for.
type asks6 struct{ address, prefixes, information bool }

// asksOf returns what a link asks for: prefixes if it is to, and what routers say is to be had by
// DHCP (RFC 4861 section 4.2, flags M and O).
func asksOf(managed, other bool, o lease.Options) asks6 {
	a := asks6{address: managed, prefixes: o.Prefixes}
	a.information = other && !a.address && !a.prefixes
	return a
}

// linkLocal reports whether a link has a link-local address of IPv6 that is verified, from which a
// client asks.
func linkLocal(state plan.State, index int) bool {
	for _, a := range state.Addresses {
		if a.Link == index && a.Prefix.Addr().Is6() && a.Prefix.Addr().IsLinkLocalUnicast() && !a.Tentative && !a.Duplicate {
			return true
		}
	}
	return false
}
