package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"keelson/netcfg/config"
)

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
