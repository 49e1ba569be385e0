package dhcp

import (
	"keelson/netcfg/lease"
	"keelson/runtime/durable"
)

// store keeps leases of one family in files.
type store struct {
	dir    string // for others, until the reboot
	kept   string // over a reboot; empty: nowhere
	family int
}

// load returns the last lease of a link; nil if there is none. The times of one of an earlier boot mean
// nothing: it is not current.
func (s store) load(link string) (l *lease.Lease, current bool) {
	for _, dir := range []string{s.dir, s.kept} {
		if dir == "" {
			continue
		}
		if got, known, err := lease.Read(dir, link, s.family); err == nil && known && s.fits(got) {
			return &got, dir == s.dir
		}
	}
	return nil, false
}

// fits reports whether a lease, which another program may have written, is one of the family.
func (s store) fits(l lease.Lease) bool {
	a := l.Address.Addr()
	return s.family == 4 && a.Is4() || s.family == 6 && (!l.Address.IsValid() || a.Is6() && !a.Is4In6())
}

// save keeps a lease. What is kept over a reboot is a help only.
func (s store) save(l lease.Lease) error {
	err := lease.Write(s.dir, l, durable.Replace)
	if s.kept != "" && holds(l) {
		if old, known, readErr := lease.Read(s.kept, l.Link, s.family); readErr != nil || !known || summary(old) != summary(l) || old.Server != l.Server || string(old.ServerID) != string(l.ServerID) {
			_ = lease.Write(s.kept, l, durable.WriteFile)
		}
	}
	return err
}

// forget removes a lease that has ended or was given back.
func (s store) forget(link string) error {
	err := lease.Remove(s.dir, link, s.family)
	if s.kept != "" {
		_ = lease.Remove(s.kept, link, s.family)
	}
	return err
}

// holds reports whether a lease has an address or a prefix, not information only.
func holds(l lease.Lease) bool { return l.Address.IsValid() || len(l.Prefixes) > 0 }

// summary returns the address and the prefixes of a lease.
func summary(l lease.Lease) string {
	text := ""
	if l.Address.IsValid() {
		text = l.Address.Addr().String()
	}
	for _, p := range l.Prefixes {
		if text != "" {
			text += " "
		}
		text += p.String()
	}
	return text
}
