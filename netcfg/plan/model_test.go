package plan

import (
	"fmt"
	"net"
	"slices"

	"keelson/netcfg/config"
)

// model does to a state what the kernel does.
type model struct {
	State
	next int
}

func (m *model) link(name string) *Link { return m.byName(name) }

func (m *model) apply(c Change) error {
	if c.Op == AddLink {
		if m.link(c.Link) != nil {
			return fmt.Errorf("%s: exists", c)
		}
		names := []string{c.Link}
		if c.Want.Kind == config.Veth {
			names = append(names, c.Want.Peer)
		}
		parent := 0
		if c.Parent != "" {
			p := m.link(c.Parent)
			if p == nil {
				return fmt.Errorf("%s: no parent", c)
			}
			parent = p.Index
		}
		for _, name := range names {
			if m.link(name) != nil {
				return fmt.Errorf("%s: %s exists", c, name)
			}
			m.next++
			yes, no := true, true
			m.Links = append(m.Links, Link{Index: m.next, Name: name, Kind: c.Want.Kind, MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(m.next)}, MTU: 1500, Parent: parent, AcceptRA: &yes, IPv6LL: &no})
		}
		if c.Want.Kind == config.Veth {
			m.link(c.Link).Parent, m.link(c.Want.Peer).Parent = m.link(c.Want.Peer).Index, m.link(c.Link).Index
		}
		if len(c.Want.MAC) > 0 {
			m.link(c.Link).MAC = c.Want.MAC
		}
		if c.Want.MTU > 0 {
			m.link(c.Link).MTU = c.Want.MTU
		}
		return nil
	}
	switch c.Op {
	case AddRule:
		m.Rules = append(m.Rules, Rule{c.Rule})
		return nil
	case DeleteRule:
		m.Rules = slices.DeleteFunc(m.Rules, func(r Rule) bool { return r.Rule == c.Rule })
		return nil
	case AddRoute:
		index := 0
		if l := m.link(c.Link); l != nil {
			index = l.Index
			if !l.Up {
				return fmt.Errorf("%s: it is down", c)
			}
		} else if c.Link != "" {
			return fmt.Errorf("%s: no link", c)
		}
		m.Routes = append(m.Routes, Route{Link: index, Route: normal(c.Route)})
		return nil
	case DeleteRoute:
		m.Routes = slices.DeleteFunc(m.Routes, func(r Route) bool { return sameRoute(r.Route, c.Route) && (c.Link == "" || m.nameOf(r.Link) == c.Link) })
		return nil
	}
	l := m.link(c.Link)
	if l == nil && (c.Op == DeleteLink || c.Op == DeleteAddress) {
		return nil // It went with another one.
	}
	if l == nil {
		return fmt.Errorf("%s: no link", c)
	}
	switch c.Op {
	case DeleteLink:
		index := l.Index
		m.Links = without(m.Links, index)
		m.Addresses = slices.DeleteFunc(m.Addresses, func(a Address) bool { return m.byIndex(a.Link) == nil })
		m.Routes = slices.DeleteFunc(m.Routes, func(r Route) bool { return r.Link != 0 && m.byIndex(r.Link) == nil })
		for i := range m.Links {
			if m.byIndex(m.Links[i].Master) == nil {
				m.Links[i].Master = 0
			}
		}
	case Rename:
		l.Name = c.To
	case SetMAC:
		l.MAC = c.Want.MAC
	case SetMTU:
		l.MTU = c.Want.MTU
	case SetMaster:
		l.Master = 0
		if c.To != "" {
			master := m.link(c.To)
			if master == nil {
				return fmt.Errorf("%s: no master", c)
			}
			l.Master = master.Index
		}
	case SetAcceptRA:
		l.AcceptRA = c.Want.AcceptRA
	case SetIPv6LL:
		l.IPv6LL = c.Want.IPv6LL
	case Up:
		l.Up = true
	case Down:
		l.Up = false
		m.Routes = slices.DeleteFunc(m.Routes, func(r Route) bool { return r.Link == l.Index })
	case AddAddress:
		m.Addresses = slices.DeleteFunc(m.Addresses, func(a Address) bool { return a.Link == l.Index && a.Prefix == c.Address.Prefix })
		m.Addresses = append(m.Addresses, Address{Link: l.Index, Address: c.Address})
	case DeleteAddress:
		m.Addresses = slices.DeleteFunc(m.Addresses, func(a Address) bool { return a.Link == l.Index && a.Prefix == c.Address.Prefix })
	}
	return nil
}

// converge applies plans until one is empty.
func (m *model) converge(want config.Config, own Own) error {
	for range 4 {
		own.Prune(m.State)
		p := Plan(want, m.State, own)
		if len(p.Changes) == 0 {
			return nil
		}
		for _, c := range p.Changes {
			own.Before(c)
			if err := m.apply(c); err != nil {
				return fmt.Errorf("%w in %q", err, texts(p.Changes))
			}
			own.After(c)
		}
	}
	return fmt.Errorf("the plan is not empty: %q", texts(Plan(want, m.State, own).Changes))
}

func machine(names ...string) *model {
	m := &model{}
	yes := true
	m.Links = append(m.Links, Link{Index: 1, Name: "lo", Loopback: true, Up: true, MTU: 65536})
	m.next = 1
	for _, name := range names {
		m.next++
		m.Links = append(m.Links, Link{Index: m.next, Name: name, MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(m.next)}, MTU: 1500, Driver: "virtio_net", AcceptRA: &yes, IPv6LL: &yes})
	}
	return m
}
