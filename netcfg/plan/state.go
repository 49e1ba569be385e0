package plan

import (
	"net"
	"net/netip"
	"slices"

	"keelson/netcfg/config"
)

// Protocol marks own routes and rules (rtm_protocol of rtnetlink(7), FRA_PROTOCOL). The numbers
// in use are in linux/rtnetlink.h and in iproute2's etc/iproute2/rt_protos; this one is in
// neither.
const Protocol = 75

// Numbers of linux/rtnetlink.h and net/ipv6.h.
const (
	mainTable  = 254
	ipv6Metric = 1024 // of routes of IPv6 without one
)

// State is the state of the kernel.
type State struct {
	Links     []Link
	Addresses []Address
	Routes    []Route // only those with Protocol
	Rules     []Rule  // only those with Protocol
}

// Link is a link of the kernel.
type Link struct {
	Index    int
	Name     string
	Kind     config.Kind
	MAC      net.HardwareAddr
	Original net.HardwareAddr // the permanent address; empty if it has none
	Driver   string
	Path     string // of its device, as ID_PATH of udev
	MTU      int
	Up       bool
	Carrier  bool
	Loopback bool
	Master   int // index; 0: none
	Parent   int // index; 0: none
	VLANID   int
	Table    int    // of a VRF
	Mode     string // of a macvlan or ipvlan
	AcceptRA *bool  // nil: there is no IPv6
	IPv6LL   *bool  // makes a link-local address; nil: there is no IPv6
}

// Address is an address of a link.
type Address struct {
	Link int // index
	config.Address
	Tentative bool // its uniqueness is being verified
	Duplicate bool // another machine has it
	Dynamic   bool // it ends, unless it is renewed
	ValidFor  int  // seconds until it ends
	// PreferredFor is in how many seconds it is deprecated.
	PreferredFor int
}

// Route is a route. To that of a family without its own metric or table, normal gives the
// kernel's.
type Route struct {
	Link int // index; 0: none
	config.Route
	Protocol int // who has made it; 0: Protocol
}

// Rule is a rule.
type Rule struct{ config.Rule }

// Own is the record of what was made, which outlives the program. A name is the kernel's.
type Own struct {
	Links     map[string]string         `json:"links"`     // names of links that were made, with a digest of their parameters
	Ports     map[string]string         `json:"ports"`     // names of links with parameters as members of a bridge, with a digest
	Addresses map[string][]netip.Prefix `json:"addresses"` // by the name of the link
}

// NewOwn returns a record of nothing.
func NewOwn() Own {
	return Own{map[string]string{}, map[string]string{}, map[string][]netip.Prefix{}}
}

// Prune forgets what is not there any more, whoever has removed it.
func (o Own) Prune(s State) {
	for name := range o.Links {
		if s.byName(name) == nil {
			delete(o.Links, name)
		}
	}
	for name := range o.Ports {
		if l := s.byName(name); l == nil || l.Master == 0 {
			delete(o.Ports, name)
		}
	}
	for name, list := range o.Addresses {
		list = slices.DeleteFunc(list, func(p netip.Prefix) bool {
			return !slices.ContainsFunc(s.Addresses, func(a Address) bool { return a.Prefix == p && s.nameOf(a.Link) == name })
		})
		if o.Addresses[name] = list; len(list) == 0 {
			delete(o.Addresses, name)
		}
	}
}

// Before records what a change is about to make, so that it is known after a crash.
func (o Own) Before(c Change) {
	switch c.Op {
	case AddLink:
		o.Links[c.Link] = "" // With what, is known when it is made.
	case AddAddress:
		if !slices.Contains(o.Addresses[c.Link], c.Address.Prefix) {
			o.Addresses[c.Link] = append(o.Addresses[c.Link], c.Address.Prefix)
		}
	}
}

// After records what a change has made.
func (o Own) After(c Change) {
	switch c.Op {
	case AddLink, SetParameters:
		o.Links[c.Link] = c.Digest
	case SetPort:
		o.Ports[c.Link] = c.Digest
	case DeleteLink:
		delete(o.Links, c.Link)
		delete(o.Ports, c.Link)
		delete(o.Addresses, c.Link)
	case DeleteAddress:
		o.Addresses[c.Link] = slices.DeleteFunc(o.Addresses[c.Link], func(p netip.Prefix) bool { return p == c.Address.Prefix })
		if len(o.Addresses[c.Link]) == 0 {
			delete(o.Addresses, c.Link)
		}
	case Rename:
		for _, m := range []map[string]string{o.Links, o.Ports} {
			if v, ok := m[c.Link]; ok {
				delete(m, c.Link)
				m[c.To] = v
			}
		}
		if list, ok := o.Addresses[c.Link]; ok {
			delete(o.Addresses, c.Link)
			o.Addresses[c.To] = list
		}
	}
}

func (s State) byName(name string) *Link {
	for i := range s.Links {
		if s.Links[i].Name == name {
			return &s.Links[i]
		}
	}
	return nil
}

func (s State) byIndex(index int) *Link {
	for i := range s.Links {
		if s.Links[i].Index == index {
			return &s.Links[i]
		}
	}
	return nil
}

func (s State) nameOf(index int) string {
	if l := s.byIndex(index); l != nil {
		return l.Name
	}
	return ""
}

// normal returns a route as the kernel reports it.
func normal(r config.Route) config.Route {
	if r.Table == 0 {
		r.Table = mainTable
	}
	if r.Metric == 0 && r.To.Addr().Is6() {
		r.Metric = ipv6Metric
	}
	if r.To.Addr().Is6() || r.Scope == "" && (r.Via.IsValid() || r.Type != "" && r.Type != "local") {
		r.Scope = "global" // IPv6 has no scopes of routes.
	}
	if r.Scope == "" {
		r.Scope = "host" // of type local
	}
	return r
}
