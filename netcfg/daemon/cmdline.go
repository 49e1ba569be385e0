package daemon

import (
	"fmt"
	"strings"

	"keelson/netcfg"
	"keelson/netcfg/config"
)

// CommandLine returns the links for which the kernel's command line (proc(5), /proc/cmdline) asks
// for DHCP by ip=: the boot applies only addresses that are given. pnp is the content of
// /proc/net/pnp: what the kernel has configured itself is not asked for again.
func CommandLine(line, pnp string) (c config.Config) {
	proto, _, _ := strings.Cut(pnp, "\n")
	if proto == "#PROTO: DHCP" || proto == "#PROTO: BOOTP" || proto == "#PROTO: RARP" {
		return c
	}
	for _, word := range strings.Fields(line) {
		value, ok := strings.CutPrefix(word, "ip=")
		if !ok {
			continue
		}
		p, _ := netcfg.ParseIP(value) // The boot has reported errors.
		var six bool
		switch p.Dynamic {
		case "on", "any", "dhcp", "dhcp4", "both", "single-dhcp":
		case "dhcp6":
			six = true
		case "":
			continue
		default:
			c.Notes = append(c.Notes, fmt.Sprintf("%s: there is no client for %s", word, p.Dynamic))
			continue
		}
		l := config.Link{ID: p.Device, Match: config.Match{Name: p.Device}}
		if p.Device == "" {
			l.ID, l.Match.Name = "ip=", "*"
		}
		options := config.DHCP{Enabled: true, Identifier: "duid", UseDNS: true, UseRoutes: true, UseMTU: true, UseHostname: true, UseNTP: true, SendHostname: true, Metric: 100}
		if six {
			l.DHCP6 = options
		} else {
			l.DHCP4 = options
		}
		c.Links = append(c.Links, l)
	}
	return c
}
