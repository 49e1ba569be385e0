package plan

import (
	"net/netip"
	"slices"

	"keelson/netcfg/config"
)

// removeAddresses removes own addresses that are not wanted any more.
func (p *planner) removeAddresses() {
	wanted := map[string][]netip.Prefix{}
	p.each(func(w *config.Link, name string) {
		for _, a := range w.Addresses {
			wanted[name] = append(wanted[name], a.Prefix)
			if w.SetName != "" {
				wanted[w.SetName] = append(wanted[w.SetName], a.Prefix)
			}
		}
	})
	for _, a := range p.state.Addresses {
		name := p.state.nameOf(a.Link)
		if slices.Contains(p.own.Addresses[name], a.Prefix) && !slices.Contains(wanted[name], a.Prefix) {
			p.add(Change{Op: DeleteAddress, Link: name, Address: a.Address})
		}
	}
}

// addresses plans addresses that are missing. One that is there with another prefix, such as
// the kernel's own from ip=, is respected.
func (p *planner) addresses() {
	p.each(func(w *config.Link, name string) {
		if w.Activation == config.Off {
			return
		}
		k := p.state.byName(name)
		for _, a := range w.Addresses {
			there := k != nil && slices.ContainsFunc(p.state.Addresses, func(b Address) bool {
				return b.Link == k.Index && b.Prefix == a.Prefix && b.Deprecated == a.Deprecated
			})
			if !there {
				p.add(Change{Op: AddAddress, Link: name, Address: a})
			}
		}
	})
}

// sameRoute reports whether two routes are the same for the kernel.
func sameRoute(a, b config.Route) bool { return normal(a) == normal(b) }

// ofLink returns the name of the link that a route has.
func ofLink(r config.Route, name string) string {
	if r.Type != "" && r.Type != "local" {
		return "" // The kernel gives it none, or the loopback.
	}
	return name
}

// wantedRoutes calls f for each route that is to be there.
func (p *planner) wantedRoutes(f func(r config.Route, name string)) {
	p.each(func(w *config.Link, name string) {
		if !p.goesUp(w, name) {
			return
		}
		for _, r := range w.Routes {
			f(r, ofLink(r, name))
		}
	})
}

// removeRoutes removes own routes that are not wanted any more.
func (p *planner) removeRoutes() {
	for _, r := range p.state.Routes {
		name := ofLink(r.Route, p.state.nameOf(r.Link))
		wanted := false
		p.wantedRoutes(func(w config.Route, at string) { wanted = wanted || at == name && sameRoute(w, r.Route) })
		if !wanted {
			p.add(Change{Op: DeleteRoute, Link: name, Route: r.Route})
		}
	}
}

// routes plans routes that are missing: those of a link before those over a gateway, which they
// may lead to.
func (p *planner) routes() {
	for _, gateways := range []bool{false, true} {
		p.wantedRoutes(func(w config.Route, name string) {
			there := slices.ContainsFunc(p.state.Routes, func(r Route) bool {
				return ofLink(r.Route, p.state.nameOf(r.Link)) == name && sameRoute(w, r.Route)
			})
			if !there && w.Via.IsValid() == gateways {
				p.add(Change{Op: AddRoute, Link: name, Route: w})
			}
		})
	}
}

// wantedRules returns the rules that are to be there.
func (p *planner) wantedRules() []config.Rule {
	var all []config.Rule
	p.each(func(w *config.Link, _ string) {
		for _, r := range w.Rules {
			if !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	})
	return all
}

// sameRule reports whether the kernel's rule b is the wanted rule a. Without a priority, the
// kernel has chosen one.
func sameRule(a, b config.Rule) bool {
	if a.Priority == 0 {
		b.Priority = 0
	}
	return a == b
}

func (p *planner) removeRules() {
	wanted := p.wantedRules()
	for _, r := range p.state.Rules {
		if !slices.ContainsFunc(wanted, func(w config.Rule) bool { return sameRule(w, r.Rule) }) {
			p.add(Change{Op: DeleteRule, Rule: r.Rule})
		}
	}
}

func (p *planner) rules() {
	for _, w := range p.wantedRules() {
		if !slices.ContainsFunc(p.state.Rules, func(r Rule) bool { return sameRule(w, r.Rule) }) {
			p.add(Change{Op: AddRule, Rule: w})
		}
	}
}
