package network

import (
	"errors"
	"fmt"
	"math"
	"time"

	"keelson/netcfg/kernel"
	"keelson/netcfg/lease"
	"keelson/netcfg/plan"
	"keelson/runtime/readfile"
	"keelson/runtime/resolvconf"
	"keelson/runtime/timeline"
)

const (
	resolvConf = "/etc/resolv.conf"
	fileLimit  = 256 << 10
	forever    = math.MaxUint32 // a lifetime without end, in seconds
)

// Read reads the state of the network. With an error, what could be read is there.
func Read() (Network, error) {
	n := Network{Links: []Link{}, Routes: []Route{}, DNS: []string{}, Search: []string{}}
	state, err := kernel.Links()
	routes, routesErr := kernel.Routes()
	err = errors.Join(err, routesErr)
	names := map[int]string{}
	for _, l := range state.Links {
		names[l.Index] = l.Name
	}
	for _, l := range state.Links {
		link := Link{
			Name: l.Name, Index: l.Index, Kind: string(l.Kind), State: stateOf(l), MTU: l.MTU, Driver: l.Driver, Path: l.Path, Master: names[l.Master], Addresses: []Address{},
			Leases: leases(l.Name),
		}
		if len(l.MAC) > 0 && !l.Loopback {
			link.MAC = l.MAC.String()
		}
		for _, a := range state.Addresses {
			if a.Link == l.Index {
				link.Addresses = append(link.Addresses, addressOf(a))
			}
		}
		n.Links = append(n.Links, link)
	}
	for _, r := range routes {
		n.Routes = append(n.Routes, Route{Text: plan.RouteText(r.Route, names[r.Link]), By: makerOf(r.Protocol)})
	}
	if text, resolvErr := readfile.Limited(resolvConf, fileLimit); resolvErr == nil {
		servers, search := resolvconf.Parse(string(text))
		n.DNS, n.Search = append(n.DNS, servers...), append(n.Search, search...)
	}
	var d Daemon
	known, daemonErr := readfile.JSON(StatusFile, fileLimit, &d)
	if known {
		n.Daemon = &d
	}
	return n, errors.Join(err, daemonErr)
}

func stateOf(l plan.Link) string {
	switch {
	case !l.Up:
		return StateDown
	case !l.Carrier:
		return StateNoCarrier
	}
	return StateUp
}

func addressOf(a plan.Address) Address {
	made := Address{Prefix: a.Prefix.String()}
	switch {
	case a.Duplicate:
		made.Note = "duplicate"
	case a.Tentative:
		made.Note = "tentative"
	case a.Deprecated:
		made.Note = "deprecated"
	}
	if a.Dynamic && a.ValidFor != forever {
		made.ValidFor = a.ValidFor
	}
	if a.Dynamic && a.PreferredFor != forever && a.PreferredFor != a.ValidFor {
		made.PreferredFor = a.PreferredFor
	}
	return made
}

// makerOf names who has made a route (rtm_protocol of rtnetlink(7)).
func makerOf(protocol int) string {
	switch protocol {
	case 2:
		return "kernel"
	case 3:
		return "boot"
	case 4:
		return "static"
	case 9:
		return "ra"
	case 16:
		return "dhcp"
	case plan.Protocol:
		return "keelson"
	}
	return fmt.Sprint(protocol)
}

// leases reads the leases of a link. One that is not readable is none.
func leases(link string) (all []Lease) {
	for _, family := range []int{4, 6} {
		l, known, err := lease.Read(lease.Dir, link, family)
		if err != nil || !known || l.Left(timeline.Now()) == 0 { // One that has ended is kept while its link has no carrier.
			continue
		}
		made := Lease{Family: family, Prefixes: texts(l.Prefixes), NTP: texts(l.NTP)}
		if l.Address.IsValid() {
			made.Address = l.Address.String()
		}
		if l.Server.IsValid() {
			made.Server = l.Server.String()
		}
		if left := l.Left(timeline.Now()); left != lease.Forever {
			made.ValidFor = max(1, int(left/time.Second))
		}
		all = append(all, made)
	}
	return all
}

func texts[T fmt.Stringer](list []T) (all []string) {
	for _, v := range list {
		all = append(all, v.String())
	}
	return all
}
