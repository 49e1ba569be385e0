package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"keelson/netcfg/config"
)

// Result is a plan.
type Result struct {
	Changes  []Change            // in their order
	Links    map[string][]string // of each link of the configuration, the kernel's names; empty while it is not there
	Missing  []string            // links of the configuration that are not there, in their order
	Problems []string            // what cannot be done, and why
}

// planner makes a plan.
type planner struct {
	want  config.Config
	state State
	own   Own
	Result
	made map[string]bool // names of links that the plan adds
}

// Plan returns what leads from state to want.
func Plan(want config.Config, state State, own Own) Result {
	p := &planner{want: want, state: state, own: own, made: map[string]bool{}, Result: Result{Links: map[string][]string{}}}
	p.resolve()
	p.removeLinks()
	p.removeRules()
	p.removeRoutes()
	p.removeAddresses()
	for i := range want.Links {
		p.links(&want.Links[i])
	}
	p.addresses()
	p.routes()
	p.rules()
	return p.Result
}

func (p *planner) add(c Change) { p.Changes = append(p.Changes, c) }

func (p *planner) problem(format string, args ...any) {
	p.Problems = append(p.Problems, fmt.Sprintf(format, args...))
}

// resolve finds the kernel's names of links. A link that is made has its own name; physical
// links are found by what they match, those with a new name by that too. A link that several
// entries match belongs to the one that says most of it: two entries would undo what the
// other one does.
func (p *planner) resolve() {
	owner := map[string]*config.Link{} // by the kernel's name
	matched := map[*config.Link]bool{}
	for i := range p.want.Links {
		l := &p.want.Links[i]
		p.Links[l.ID] = nil
		if l.Kind != config.Physical {
			p.Links[l.ID] = []string{l.ID}
			continue
		}
		for _, k := range p.state.Links {
			if !p.matches(*l, k) {
				continue
			}
			matched[l] = true
			if o := owner[k.Name]; o == nil || precision(l, k.Name) < precision(o, k.Name) {
				owner[k.Name] = l
			}
		}
	}
	for i := range p.want.Links {
		l := &p.want.Links[i]
		if l.Kind != config.Physical {
			continue
		}
		for _, k := range p.state.Links {
			if owner[k.Name] == l {
				p.Links[l.ID] = append(p.Links[l.ID], k.Name)
			}
		}
		if len(p.Links[l.ID]) == 0 && !(l.Fallback && matched[l]) {
			p.Missing = append(p.Missing, l.ID)
		}
		if l.SetName != "" && len(p.Links[l.ID]) > 1 {
			p.problem("%s: %d links match, and only one can get the name %s", l.ID, len(p.Links[l.ID]), l.SetName)
			p.Links[l.ID] = p.Links[l.ID][:1]
		}
	}
}

// precision is how exactly an entry means a link that it matches; less is more exactly. Those
// of the same precision have the order of the configuration.
func precision(l *config.Link, name string) int {
	switch {
	case l.Fallback && l.Match.Name == "*":
		return 11
	case l.Fallback:
		return 10
	case l.Match.Name == name || l.SetName == name:
		return 0
	case len(l.Match.MAC) > 0:
		return 1
	case l.Match.Path != "":
		return 2
	case len(l.Match.Drivers) > 0:
		return 3
	case l.Match.Name != "*":
		return 4
	}
	return 5
}

// matches reports whether a physical link of the configuration matches a link of the kernel.
func (p *planner) matches(l config.Link, k Link) bool {
	if !p.mayMatch(l, k) {
		return false
	}
	mac := k.Original
	switch {
	case len(mac) > 0:
	case len(l.MAC) > 0 && slices.Equal(k.MAC, l.MAC): // It had another one before.
		mac = l.Match.MAC
	default:
		mac = k.MAC
	}
	candidate := config.Candidate{Name: k.Name, Driver: k.Driver, Path: k.Path, MAC: mac}
	other := l.Match
	other.Name = "" // What it was called before, is not known any more.
	return l.Match.Matches(candidate) || l.SetName != "" && k.Name == l.SetName && other.Matches(candidate)
}

// mayMatch reports whether a link of the kernel can be a physical link of the configuration.
// Links of other kinds, such as the veth that a container has, and the loopback, are meant only
// by their names.
func (p *planner) mayMatch(l config.Link, k Link) bool {
	if w := p.want.Find(k.Name); w != nil && w.Kind != config.Physical {
		return false
	}
	_, own := p.own.Links[k.Name]
	named := l.Match.Name == k.Name || l.SetName == k.Name
	return !own && (k.Kind == config.Physical && !k.Loopback || named)
}

// removeLinks removes own links that are not wanted any more, or that have to be made again.
func (p *planner) removeLinks() {
	for _, l := range p.state.Links {
		_, own := p.own.Links[l.Name]
		if w := p.want.Find(l.Name); own && (w == nil || w.Kind != l.Kind) && l.Kind != config.Physical {
			p.add(Change{Op: DeleteLink, Link: l.Name})
			p.forget(l.Index)
		}
	}
	// All before others are made, which may need their names.
	for i := range p.want.Links {
		w := &p.want.Links[i]
		k := p.state.byName(w.ID)
		made, own := p.own.Links[w.ID]
		if own && k != nil && k.Kind == w.Kind && remade(w.Kind) && made != digest(w) && (w.Parent == "" || len(p.Links[w.Parent]) > 0) {
			p.add(Change{Op: DeleteLink, Link: w.ID})
			p.forget(k.Index)
		}
	}
}

// forget takes a link that the plan deletes out of the state, with those that are made from it.
func (p *planner) forget(index int) {
	p.state.Links = without(p.state.Links, index)
	p.state.Addresses = slices.DeleteFunc(slices.Clone(p.state.Addresses), func(a Address) bool { return p.state.byIndex(a.Link) == nil })
	p.state.Routes = slices.DeleteFunc(slices.Clone(p.state.Routes), func(r Route) bool { return r.Link != 0 && p.state.byIndex(r.Link) == nil })
}

// without returns the links without one and those that the kernel deletes with it: those made from
// it, and the other end of a veth.
func without(links []Link, index int) []Link {
	gone := map[int]bool{index: true}
	for before := 0; before != len(gone); {
		before = len(gone)
		for _, l := range links {
			if gone[l.Parent] {
				gone[l.Index] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(links), func(l Link) bool { return gone[l.Index] })
}

// digest returns a digest of what a link is made with.
func digest(l *config.Link) string {
	key := func(k config.Key) []byte {
		if k.Bytes == nil {
			return nil
		}
		return k.Bytes[:]
	}
	secrets := [][]byte{}
	if w := l.Wireguard; w != nil {
		secrets = append(secrets, key(w.Key))
		for _, peer := range w.Peers {
			secrets = append(secrets, key(peer.Shared))
		}
	}
	return sum(l.Kind, l.Parent, l.VLANID, l.Peer, l.Mode, l.Table, l.Bond, l.Bridge, l.Wireguard, secrets)
}

// sum returns a digest of values, which are encoded as JSON.
func sum(values ...any) string {
	text, err := json.Marshal(values)
	if err != nil {
		return "" // Never: the values are plain.
	}
	hash := sha256.Sum256(text)
	return hex.EncodeToString(hash[:16])
}

// remade reports whether the parameters of a kind can be given only when the link is made.
func remade(k config.Kind) bool { return k != config.Bridge && k != config.Wireguard }

// links plans what concerns a link itself.
func (p *planner) links(w *config.Link) {
	if w.Kind != config.Physical && !p.make(w) {
		p.Missing = append(p.Missing, w.ID)
		p.Links[w.ID] = nil
		return
	}
	names := p.Links[w.ID]
	for i, name := range names {
		k := p.state.byName(name)
		if k == nil { // It is made.
			k = &Link{Name: name, Kind: w.Kind, MAC: w.MAC, MTU: w.MTU}
		}
		now := *k
		if w.SetName != "" && name != w.SetName {
			if p.state.byName(w.SetName) != nil {
				p.problem("%s cannot be renamed to %s: there is a link of that name", name, w.SetName)
			} else {
				if now.Up {
					p.add(Change{Op: Down, Link: name})
					now.Up = false
				}
				p.add(Change{Op: Rename, Link: name, To: w.SetName})
				p.renamed(name, w.SetName)
				names[i], name = w.SetName, w.SetName
			}
		}
		p.properties(w, name, now)
	}
}

// renamed gives a link of the state its new name.
func (p *planner) renamed(before, after string) {
	p.state.Links = slices.Clone(p.state.Links)
	if k := p.state.byName(before); k != nil {
		k.Name = after
	}
}

// make plans to make a link. It returns false if that is not possible yet.
func (p *planner) make(w *config.Link) bool {
	k := p.state.byName(w.ID)
	parent := ""
	if w.Parent != "" {
		names := p.Links[w.Parent]
		if l := p.want.Find(w.Parent); len(names) == 0 && l != nil && l.Fallback && p.state.byName(l.ID) != nil {
			names = []string{l.ID} // Another entry has it.
		}
		if len(names) == 0 {
			return k != nil && k.Kind == w.Kind
		}
		parent = names[0]
		if len(names) > 1 {
			p.problem("%s: several links match %s; it is made from %s", w.ID, w.Parent, parent)
		}
	}
	sum := digest(w)
	if k != nil {
		made, own := p.own.Links[k.Name]
		switch {
		case k.Kind != w.Kind:
			p.problem("%s: there is a link of that name, which was not made by keelson and is no %s", w.ID, w.Kind)
			return false
		case own && made == sum:
			return true
		case !remade(w.Kind):
			p.add(Change{Op: SetParameters, Link: w.ID, Want: w, Digest: sum})
			return true
		}
		return true // Of somebody else, or of before the record was lost: it gets what does not need a new link.
	}
	if p.made[w.Peer] && w.Kind == config.Veth {
		p.made[w.ID] = true // With its peer.
		return true
	}
	p.made[w.ID] = true
	p.add(Change{Op: AddLink, Link: w.ID, Want: w, Parent: parent, Digest: sum})
	return true
}

// properties plans what a link is to have that is no address.
func (p *planner) properties(w *config.Link, name string, now Link) {
	master, masterKind := "", config.Physical
	if m := p.want.Find(w.Master); m != nil && len(p.Links[m.ID]) > 0 {
		master, masterKind = m.ID, m.Kind
	}
	member := masterKind == config.Bond
	if len(w.MAC) > 0 && !member && !slices.Equal(w.MAC, now.MAC) {
		p.add(Change{Op: SetMAC, Link: name, Want: w})
	}
	if w.MTU != 0 && w.MTU != now.MTU && !member {
		p.add(Change{Op: SetMTU, Link: name, Want: w})
	}
	if w.AcceptRA != nil && now.AcceptRA != nil && *w.AcceptRA != *now.AcceptRA || w.AcceptRA != nil && p.made[name] {
		p.add(Change{Op: SetAcceptRA, Link: name, Want: w})
	}
	if w.IPv6LL != nil && (now.IPv6LL != nil && *now.IPv6LL != *w.IPv6LL || p.made[name]) {
		p.add(Change{Op: SetIPv6LL, Link: name, Want: w})
	}
	before := p.state.nameOf(now.Master)
	_, ownMaster := p.own.Links[before]
	if master != before && (master != "" || ownMaster) {
		if member && now.Up {
			p.add(Change{Op: Down, Link: name})
			now.Up = false
		}
		p.add(Change{Op: SetMaster, Link: name, To: master})
	}
	sum := sum(master, w.Port)
	if w.Port != nil && masterKind == config.Bridge && (master != before || p.own.Ports[name] != sum) {
		p.add(Change{Op: SetPort, Link: name, Want: w, Digest: sum})
	}
	k := p.state.byName(name)
	down := !now.Up && k != nil && k.Up // for the changes above
	switch {
	case w.Activation == config.Automatic && !now.Up, w.Activation == config.Manual && down:
		p.add(Change{Op: Up, Link: name})
	case w.Activation == config.Off && now.Up:
		p.add(Change{Op: Down, Link: name})
	}
}

// goesUp reports whether a link is up after the plan.
func (p *planner) goesUp(w *config.Link, name string) bool {
	k := p.state.byName(name)
	return w.Activation == config.Automatic || w.Activation == config.Manual && k != nil && k.Up
}

// each calls f for each link that is there after the changes planned so far.
func (p *planner) each(f func(w *config.Link, name string)) {
	for i := range p.want.Links {
		for _, name := range p.Links[p.want.Links[i].ID] {
			f(&p.want.Links[i], name)
		}
	}
}

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
