package dhcp

import (
	"context"
	"net"
	"sync"

	"keelson/netcfg/lease"
	"keelson/netcfg/plan"
)

// runner6 runs the client for IPv6 of a link.
type runner6 struct {
	*client6
	index int
	asks  asks6
	stop  func() // waits for the end
}

// asks6 is what a link asks for.
type asks6 struct{ address, prefixes, information bool }

// asksOf returns what a link asks for: prefixes if it is to, and what routers say is to be had by
// DHCP (RFC 4861 section 4.2, flags M and O).
func asksOf(managed, other bool, o lease.Options) asks6 {
	a := asks6{address: managed, prefixes: o.Prefixes}
	a.information = other && !a.address && !a.prefixes
	return a
}

// update6 starts and ends clients for IPv6.
func (m *Manager) update6(ctx context.Context, state plan.State, links map[string]plan.Link, wanted map[string]lease.Options) {
	for name, r := range m.running6 {
		l, there := links[name]
		options, asks := wanted[name]
		what := r.asks
		if there && asks && l.Index == r.index {
			managed, other := advertised(l.Index)
			// An address that a client has stays, also if routers do not speak of it any more.
			what = asksOf(managed || r.asks.address, other, options)
		}
		if there && asks && l.Index == r.index && l.Up && l.Carrier && string(l.MAC) == string(r.link.HardwareAddr) && what == r.asks {
			continue
		}
		r.stop()
		delete(m.running6, name)
		switch {
		case !asks:
			m.giveBack(r.client6)
		case !there || l.Index != r.index:
			_ = lease.Remove(m.Leases, name, 6)
		}
	}
	for name, options := range wanted {
		l, there := links[name]
		if m.running6[name] != nil || !there || !l.Up || !l.Carrier || len(l.MAC) != 6 || !linkLocal(state, l.Index) {
			continue
		}
		managed, other := advertised(l.Index)
		if what := asksOf(managed, other, options); what != (asks6{}) {
			m.start6(ctx, l, what)
		}
	}
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

// start6 starts the client for IPv6 of a link. The last lease is a hint: the server knows the client.
func (m *Manager) start6(ctx context.Context, l plan.Link, what asks6) {
	c := &client6{
		link:     &net.Interface{Index: l.Index, Name: l.Name, MTU: l.MTU, HardwareAddr: l.MAC, Flags: net.FlagUp | net.FlagMulticast},
		identity: newIdentity6(l.MAC, what.address, what.prefixes), inform: what.information, dir: m.Leases, log: m.Log.With("link", l.Name, "family", 6),
	}
	if had, known, err := lease.Read(m.Leases, l.Name, 6); err == nil && known && (!had.Address.IsValid() || had.Address.Addr().Is6()) {
		c.lease = &had
	}
	running, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { c.run(running) })
	m.running6[l.Name] = &runner6{client6: c, index: l.Index, asks: what, stop: func() {
		cancel()
		work.Wait()
	}}
}
