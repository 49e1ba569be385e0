package daemon

import (
	"fmt"
	"maps"
	"slices"

	"keelson/netcfg/lease"
	"keelson/netcfg/plan"
)

// snapshot is what events are about, of the links of the configuration: texts by a key.
type snapshot map[string]string

// take returns what there is.
func take(p plan.Result, state plan.State, leases []lease.Lease) snapshot {
	s := snapshot{}
	ours := map[string]bool{}
	for _, names := range p.Links {
		for _, name := range names {
			ours[name] = true
		}
	}
	for _, l := range state.Links {
		if !ours[l.Name] {
			continue
		}
		switch {
		case !l.Up:
			s["link "+l.Name] = l.Name + " is down"
		case !l.Carrier:
			s["link "+l.Name] = l.Name + " has no carrier"
		default:
			s["link "+l.Name] = l.Name + " is up"
		}
		for _, a := range state.Addresses {
			if a.Link == l.Index && !a.Tentative && !a.Prefix.Addr().IsLinkLocalUnicast() {
				text := fmt.Sprintf("%s has the address %s", l.Name, a.Prefix)
				if a.Duplicate {
					text = fmt.Sprintf("%s: another machine has the address %s", l.Name, a.Prefix)
				}
				s["address "+l.Name+" "+a.Prefix.String()] = text
			}
		}
	}
	for _, l := range leases {
		from := ""
		if l.Server.IsValid() {
			from = " from " + l.Server.String()
		}
		s[fmt.Sprintf("lease %s %d", l.Link, l.Family)] = fmt.Sprintf("%s has a lease of DHCPv%d%s", l.Link, l.Family, from)
	}
	return s
}

// ended returns the text of what is gone.
func ended(key string) string {
	var kind, a, b string
	_, _ = fmt.Sscan(key, &kind, &a, &b)
	switch kind {
	case "address":
		return fmt.Sprintf("%s has lost the address %s", a, b)
	case "lease":
		return fmt.Sprintf("%s has lost its lease of DHCPv%s", a, b)
	}
	return a + " is gone"
}

// differences returns what has changed since, for people.
func (s snapshot) differences(since snapshot) (all []string) {
	for _, key := range slices.Sorted(maps.Keys(since)) {
		if _, there := s[key]; !there {
			all = append(all, ended(key))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if s[key] != since[key] {
			all = append(all, s[key])
		}
	}
	return all
}

// observe reports what has changed.
func (d *Daemon) observe(p plan.Result, state plan.State, leases []lease.Lease) {
	now := take(p, state, leases)
	all := now.differences(d.seen)
	for _, text := range all {
		d.Log.Info(text)
	}
	for _, report := range grouped(all, reportLimit) {
		d.Report(report)
	}
	d.seen = now
}

// reportLimit is the length of a report, in bytes: the journal cuts off longer ones.
const reportLimit = 1000

// grouped joins texts to reports of limited length: what is reported together counts once for the
// supervisor, which drops reports when there are many.
func grouped(all []string, limit int) (reports []string) {
	for _, text := range all {
		last := len(reports) - 1
		if last >= 0 && len(reports[last])+len(text)+2 <= limit {
			reports[last] += "; " + text
		} else {
			reports = append(reports, text)
		}
	}
	return reports
}
