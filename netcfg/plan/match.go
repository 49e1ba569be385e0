package plan

import (
	"slices"

	"keelson/netcfg/config"
)

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
