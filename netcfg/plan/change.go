package plan

import (
	"fmt"
	"strings"

	"keelson/netcfg/config"
)

// Op is what a change does.
type Op string

// Changes. What they need beside the name of the link is said here.
const (
	DeleteLink    Op = "delete link"
	AddLink       Op = "add link"          // Want, and Parent or Peer
	Rename        Op = "rename"            // To
	SetMAC        Op = "set macaddress of" // Want
	SetMTU        Op = "set mtu of"        // Want
	SetParameters Op = "set parameters of" // Want: of a bridge or wireguard
	SetMaster     Op = "set master of"     // To; empty: none
	SetPort       Op = "set port of"       // Want: as a member of a bridge
	SetAcceptRA   Op = "set accept-ra of"  // Want
	SetIPv6LL     Op = "set link-local of" // Want
	Up            Op = "bring up"
	Down          Op = "bring down"
	AddAddress    Op = "add address"    // Address; also if it is there with other options
	DeleteAddress Op = "delete address" // Address
	AddRoute      Op = "add route"      // Route
	DeleteRoute   Op = "delete route"   // Route
	AddRule       Op = "add rule"       // Rule
	DeleteRule    Op = "delete rule"    // Rule
)

// Change is one step of a plan.
type Change struct {
	Op      Op
	Link    string       // the kernel's name; empty for rules, and for routes without a link
	Want    *config.Link // what the link is to be
	To      string       // a name
	Parent  string       // the kernel's name of the link that one is made from
	Digest  string       // of the parameters, for the record
	Address config.Address
	Route   config.Route
	Rule    config.Rule
}

// String returns the change as one line.
func (c Change) String() string {
	verb := string(c.Op)
	switch c.Op {
	case AddLink:
		text := fmt.Sprintf("add %s %s", c.Want.Kind, c.Link)
		switch c.Want.Kind {
		case config.VLAN:
			return fmt.Sprintf("%s with id %d to %s", text, c.Want.VLANID, c.Parent)
		case config.MACVLAN, config.IPVLAN:
			return fmt.Sprintf("%s to %s", text, c.Parent)
		case config.Veth:
			return text + " with peer " + c.Want.Peer
		case config.VRF:
			return fmt.Sprintf("%s with table %d", text, c.Want.Table)
		}
		return text
	case Rename:
		return fmt.Sprintf("rename %s to %s", c.Link, c.To)
	case SetMAC:
		return fmt.Sprintf("%s %s to %s", verb, c.Link, c.Want.MAC)
	case SetMTU:
		return fmt.Sprintf("%s %s to %d", verb, c.Link, c.Want.MTU)
	case SetMaster:
		if c.To == "" {
			return fmt.Sprintf("remove %s from its master", c.Link)
		}
		return fmt.Sprintf("add %s to %s", c.Link, c.To)
	case SetAcceptRA:
		return fmt.Sprintf("%s %s to %t", verb, c.Link, *c.Want.AcceptRA)
	case SetIPv6LL:
		return fmt.Sprintf("%s %s to %t", verb, c.Link, *c.Want.IPv6LL)
	case AddAddress:
		return fmt.Sprintf("%s %s to %s", verb, c.Address.Prefix, c.Link)
	case DeleteAddress:
		return fmt.Sprintf("%s %s of %s", verb, c.Address.Prefix, c.Link)
	case AddRoute, DeleteRoute:
		return verb + " " + RouteText(c.Route, c.Link)
	case AddRule, DeleteRule:
		return verb + " " + ruleText(c.Rule)
	}
	return verb + " " + c.Link
}

// RouteText returns a route as ip-route(8) writes it.
func RouteText(r config.Route, link string) string {
	words := []string{}
	if r.Type != "" {
		words = append(words, r.Type)
	}
	if r.To.Bits() == 0 {
		words = append(words, "default")
	} else {
		words = append(words, r.To.String())
	}
	if r.Via.IsValid() {
		words = append(words, "via", r.Via.String())
	}
	if link != "" {
		words = append(words, "dev", link)
	}
	if r.From.IsValid() {
		words = append(words, "src", r.From.String())
	}
	if r.Metric != 0 {
		words = append(words, fmt.Sprint("metric ", r.Metric))
	}
	if r.Table != 0 && r.Table != mainTable {
		words = append(words, fmt.Sprint("table ", r.Table))
	}
	return strings.Join(words, " ")
}

func ruleText(r config.Rule) string {
	var words []string
	if r.Priority != 0 {
		words = append(words, fmt.Sprint("priority ", r.Priority))
	}
	if r.From.IsValid() {
		words = append(words, "from", r.From.String())
	}
	if r.To.IsValid() {
		words = append(words, "to", r.To.String())
	}
	if r.Mark != 0 {
		words = append(words, fmt.Sprint("fwmark ", r.Mark))
	}
	if r.TOS != 0 {
		words = append(words, fmt.Sprint("tos ", r.TOS))
	}
	return strings.Join(append(words, fmt.Sprint("table ", r.Table)), " ")
}
