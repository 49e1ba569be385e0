package config

import (
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"
)

// nameLimit is IFNAMSIZ: names of links are shorter, in bytes.
const nameLimit = 16

// config makes a Config of the file, and collects errors.
func (r *reader) config() Config {
	n := &r.file.Network
	if n.Version != 0 && n.Version != 2 {
		r.errorf([]string{"version"}, "want 2, not %d", n.Version)
	}
	r.renderer([]string{"renderer"}, n.Renderer)
	var links []Link
	members := map[string][]string{} // of a member, the fields of its masters
	master := func(field []string, id string, interfaces []string) {
		for i, m := range interfaces {
			at := in(field, "interfaces", fmt.Sprint(i))
			members[m] = append(members[m], strings.Join(at, "."))
			switch l := find(links, m); {
			case m == id:
				r.errorf(at, "%s cannot be a member of itself", m)
			case l == nil && !r.declared(m):
				r.errorf(at, "there is no link %s in this file", m)
			case len(members[m]) > 1:
				r.errorf(at, "%s is a member of %s too", m, members[m][0])
			}
		}
	}
	for _, id := range names(n.Ethernets) {
		e, field := n.Ethernets[id], []string{"ethernets", id}
		l := r.link(field, id, Physical, &e.device)
		l.Match = Match{Name: id}
		if e.Match != nil {
			l.Match = Match{Name: e.Match.Name, MAC: net.HardwareAddr(e.Match.MAC), Drivers: e.Match.Driver, Path: e.Match.Path}
			for _, p := range append([]string{e.Match.Name, e.Match.Path}, e.Match.Driver...) {
				if _, err := path.Match(p, ""); err != nil {
					r.errorf(in(field, "match"), "%q is no pattern", p)
				}
			}
			if len(l.Match.MAC) == 0 && len(l.Match.Drivers) == 0 && l.Match.Name == "" && l.Match.Path == "" {
				r.errorf(in(field, "match"), "it matches each link: want name, macaddress, driver or path")
			}
		} else {
			r.linkName(field, id)
		}
		if e.SetName != "" {
			if e.Match == nil {
				r.errorf(in(field, "set-name"), "it needs match, which says of which link")
			}
			r.linkName(in(field, "set-name"), e.SetName)
			l.SetName = e.SetName
		}
		links = append(links, l)
	}
	for _, id := range names(n.Dummies) {
		links = append(links, r.link([]string{"dummy-devices", id}, id, Dummy, n.Dummies[id]))
	}
	for _, id := range names(n.Veths) {
		v, field := n.Veths[id], []string{"virtual-ethernets", id}
		l := r.link(field, id, Veth, &v.device)
		l.Peer = v.Peer
		switch other := n.Veths[v.Peer]; {
		case v.Peer == "" || v.Peer == id || other == nil:
			r.errorf(in(field, "peer"), "want the name of another link of virtual-ethernets")
		case other.Peer != id:
			r.errorf(in(field, "peer"), "%s has the peer %q", v.Peer, other.Peer)
		}
		links = append(links, l)
	}
	for _, id := range names(n.Tunnels) {
		links = append(links, r.wireguard(id, n.Tunnels[id]))
	}
	for _, id := range names(n.Bonds) {
		b, field := n.Bonds[id], []string{"bonds", id}
		l := r.link(field, id, Bond, &b.device)
		l.Bond = r.bondParameters(field, b)
		master(field, id, b.Interfaces)
		links = append(links, l)
	}
	for _, id := range names(n.VLANs) {
		v, field := n.VLANs[id], []string{"vlans", id}
		l := r.link(field, id, VLAN, &v.device)
		l.Parent = r.parent(field, id, v.Link)
		switch {
		case v.ID == nil:
			r.errorf(field, "want id, 0 to 4094")
		case *v.ID < 0 || *v.ID > 4094:
			r.errorf(in(field, "id"), "want 0 to 4094, not %d", *v.ID)
		default:
			l.VLANID = *v.ID
		}
		links = append(links, l)
	}
	for kind, list := range map[Kind]map[string]*childLink{MACVLAN: n.MACVLANs, IPVLAN: n.IPVLANs} {
		for _, id := range names(list) {
			m, field := list[id], []string{string(kind) + "s", id}
			l := r.link(field, id, kind, &m.device)
			l.Parent = r.parent(field, id, m.Link)
			l.Mode = m.Mode
			r.oneOf(in(field, "mode"), m.Mode, childModes[kind])
			links = append(links, l)
		}
	}
	for _, id := range names(n.Bridges) {
		b, field := n.Bridges[id], []string{"bridges", id}
		l := r.link(field, id, Bridge, &b.device)
		l.Bridge = r.bridgeParameters(in(field, "parameters"), b.Parameters)
		master(field, id, b.Interfaces)
		links = append(links, l)
	}
	for _, id := range names(n.VRFs) {
		v, field := n.VRFs[id], []string{"vrfs", id}
		l := r.link(field, id, VRF, &v.device)
		l.Table = v.Table
		r.between(in(field, "table"), v.Table, 1, tableLimit)
		master(field, id, v.Interfaces)
		for i := range l.Routes {
			if l.Routes[i].Table == 0 {
				l.Routes[i].Table = v.Table
			}
		}
		for i := range l.Rules {
			if l.Rules[i].Table == 0 {
				l.Rules[i].Table = v.Table
			}
		}
		links = append(links, l)
	}
	r.join(links)
	return Config{Links: r.ordered(links), Notes: r.notes}
}

// join sets the masters of members, and what a bridge says of its ports.
func (r *reader) join(links []Link) {
	n := &r.file.Network
	set := func(id string, interfaces []string) {
		for _, m := range interfaces {
			if l := find(links, m); l != nil && m != id {
				l.Master = id
			}
		}
	}
	for id, b := range n.Bonds {
		set(id, b.Interfaces)
	}
	for id, v := range n.VRFs {
		set(id, v.Interfaces)
	}
	for _, id := range names(n.Bridges) {
		b := n.Bridges[id]
		set(id, b.Interfaces)
		port := func(field string, of map[string]int, highest int, set func(*PortParameters, int)) {
			for _, m := range sortedKeys(of) {
				at := []string{"bridges", id, "parameters", field, m}
				l := find(links, m)
				if l == nil || l.Master != id {
					r.errorf(at, "%s is no member of %s", m, id)
					continue
				}
				r.between(at, of[m], 1, highest)
				if l.Port == nil {
					l.Port = &PortParameters{}
				}
				set(l.Port, of[m])
			}
		}
		port("path-cost", b.Parameters.PathCost, 200000000, func(p *PortParameters, v int) { p.Cost = v })
		port("port-priority", b.Parameters.PortPriority, 63, func(p *PortParameters, v int) { p.Priority = v })
	}
	for i := range links {
		l := &links[i]
		if m := find(links, l.Master); m != nil && m.Kind != VRF {
			if len(l.Addresses) > 0 || l.DHCP4.Enabled || l.DHCP6.Enabled {
				r.errorf(r.fieldOf(l.ID), "a member of the %s %s has no addresses of its own", m.Kind, m.ID)
			}
		}
		if l.Bond != nil && l.Bond.Primary != "" {
			if p := find(links, l.Bond.Primary); p == nil || p.Master != l.ID {
				r.errorf([]string{"bonds", l.ID, "parameters", "primary"}, "%s is no member of %s", l.Bond.Primary, l.ID)
			}
		}
	}
}

// ordered returns the links in an order in which each follows those that it is made from, and
// reports cycles.
func (r *reader) ordered(links []Link) []Link {
	var done []Link
	state := map[string]int{} // 1: on the way, 2: done
	var visit func(l *Link)
	visit = func(l *Link) {
		switch state[l.ID] {
		case 1:
			r.errorf(r.fieldOf(l.ID), "it depends on itself")
			return
		case 2:
			return
		}
		state[l.ID] = 1
		for _, id := range []string{l.Parent, l.Master} {
			if other := find(links, id); other != nil && id != "" {
				visit(other)
			}
		}
		state[l.ID] = 2
		done = append(done, *l)
	}
	slices.SortStableFunc(links, func(a, b Link) int { return strings.Compare(a.ID, b.ID) })
	for i := range links {
		visit(&links[i])
	}
	return done
}

// find returns the link with an ID; nil if there is none.
func find(links []Link, id string) *Link {
	for i := range links {
		if links[i].ID == id {
			return &links[i]
		}
	}
	return nil
}

// names returns the keys of a mapping in their order. Links without a value get an empty one.
func names[T any](m map[string]*T) []string {
	for id, v := range m {
		if v == nil {
			m[id] = new(T)
		}
	}
	return slices.Sorted(maps.Keys(m))
}

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }

// sections returns the IDs of all sections with the sections of each.
func (r *reader) sections() map[string][]string {
	if r.ids != nil {
		return r.ids
	}
	n := &r.file.Network
	all := map[string][]string{}
	r.ids = all
	add := func(section string, ids []string) {
		for _, id := range ids {
			all[id] = append(all[id], section)
		}
	}
	add("ethernets", names(n.Ethernets))
	add("dummy-devices", names(n.Dummies))
	add("vlans", names(n.VLANs))
	add("bonds", names(n.Bonds))
	add("bridges", names(n.Bridges))
	add("vrfs", names(n.VRFs))
	add("virtual-ethernets", names(n.Veths))
	add("tunnels", names(n.Tunnels))
	add("macvlans", names(n.MACVLANs))
	add("ipvlans", names(n.IPVLANs))
	return all
}

func (r *reader) declared(id string) bool { return len(r.sections()[id]) > 0 }

// fieldOf returns the path of a link.
func (r *reader) fieldOf(id string) []string {
	if s := r.sections()[id]; len(s) > 0 {
		return []string{s[0], id}
	}
	return []string{id}
}

// linkName checks the name of a link (dev_valid_name of the kernel).
func (r *reader) linkName(field []string, name string) {
	if name == "" || name == "." || name == ".." || len(name) >= nameLimit || strings.ContainsAny(name, "/: \t\n\v\f\r\x00") {
		r.errorf(field, "%q cannot be the name of a link: it has 1 to %d bytes, and none of / : and spaces", name, nameLimit-1)
	}
}

// parent checks the link that another one is made from.
func (r *reader) parent(field []string, id, parent string) string {
	switch {
	case parent == "":
		r.errorf(field, "want link, the name of the link that it is made from")
	case parent == id:
		r.errorf(in(field, "link"), "it cannot be made from itself")
	case !r.declared(parent):
		r.errorf(in(field, "link"), "there is no link %s in this file", parent)
	}
	return parent
}

func (r *reader) renderer(field []string, renderer string) {
	switch renderer {
	case "":
	case "networkd", "NetworkManager":
		r.notes = append(r.notes, fmt.Sprintf("%s: %s has no effect: keelson configures the network itself", strings.Join(field, "."), renderer))
	default:
		r.errorf(field, "want networkd or NetworkManager, which have no effect, or nothing; not %q", renderer)
	}
}

func (r *reader) oneOf(field []string, value string, allowed []string) {
	if value != "" && !slices.Contains(allowed, value) {
		r.errorf(field, "want %s, not %q", list(allowed), value)
	}
}

func list(words []string) string {
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func (r *reader) between(field []string, value, low, high int) {
	if value < low || value > high {
		r.errorf(field, "want %d to %d, not %d", low, high, value)
	}
}
