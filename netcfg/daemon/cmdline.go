package daemon

import (
	"fmt"
	"slices"
	"strings"

	"keelson/netcfg"
	"keelson/netcfg/config"
	"keelson/runtime/cmdline"
)

// anyDevice is the ID of the entry for the devices that an ip= without one means.
const anyDevice = "ip="

// CommandLine returns the links that the kernel's command line (proc(5), /proc/cmdline) asks for:
// those of vlan= and bond= (dracut.cmdline(7)), and those for which ip= asks for DHCP. The boot applies
// only addresses that are given. pnp is the content of /proc/net/pnp: what the kernel has
// configured itself is not asked for again.
//
// A parameter that cannot be used is in the notes, and has no effect.
func CommandLine(line, pnp string) config.Config {
	params := cmdline.Parse(line)
	c := madeLinks(params)
	proto, _, _ := strings.Cut(pnp, "\n")
	configured := proto == "#PROTO: DHCP" || proto == "#PROTO: BOOTP" || proto == "#PROTO: RARP"
	var everywhere []netcfg.IPParam // without a device
	for _, value := range params.Values("ip") {
		word := "ip=" + value
		p, _ := netcfg.ParseIP(value)                           // The boot has reported errors.
		if p.Dynamic == "" || configured && !dhcp6(p.Dynamic) { // The kernel knows IPv4 only.
			continue
		}
		if !dhcp4(p.Dynamic) && !dhcp6(p.Dynamic) {
			c.Notes = append(c.Notes, fmt.Sprintf("%s: there is no client for %s", word, p.Dynamic))
			continue
		}
		if p.Device == "" {
			everywhere = append(everywhere, p)
			continue
		}
		l := c.Find(p.Device)
		if l == nil {
			c.Links = append(c.Links, config.Link{ID: p.Device, Match: config.Match{Name: literal(p.Device)}, Fallback: true})
			l = &c.Links[len(c.Links)-1]
		}
		if l.Master != "" {
			c.Notes = append(c.Notes, fmt.Sprintf("%s: a member of the bond %s has no addresses of its own", word, l.Master))
			continue
		}
		ask(l, p)
	}
	if len(everywhere) > 0 {
		for i := range c.Links {
			if l := &c.Links[i]; l.Kind != config.Physical && !l.DHCP4.Enabled && !l.DHCP6.Enabled && !c.parent(l.ID) {
				ask(l, everywhere...)
			}
		}
		rest := config.Link{ID: anyDevice, Match: config.Match{Name: "*"}, Fallback: true}
		ask(&rest, everywhere...)
		c.Links = append(c.Links, rest)
	}
	return c.Config
}

// dhcp4 reports whether a method of ip= is DHCP for IPv4.
func dhcp4(method string) bool {
	return slices.Contains([]string{"on", "any", "dhcp", "dhcp4", "both", "single-dhcp"}, method)
}

// dhcp6 reports whether a method of ip= is DHCP for IPv6. The kernel makes addresses by router
// advertisements itself, which either6 prefers.
func dhcp6(method string) bool { return method == "dhcp6" || method == "either6" }

// ask asks for leases as ip= says.
func ask(l *config.Link, params ...netcfg.IPParam) {
	options := config.DHCP{Enabled: true, Identifier: "duid", UseDNS: true, UseRoutes: true, UseMTU: true, UseHostname: true, UseNTP: true, SendHostname: true, Metric: 100}
	for _, p := range params {
		if dhcp4(p.Dynamic) && !l.DHCP4.Enabled {
			l.DHCP4 = options
			l.DHCP4.ClientID = p.ClientID
		}
		if dhcp6(p.Dynamic) {
			l.DHCP6 = options
		}
	}
}

// literal returns a pattern of path.Match for one name.
func literal(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

// merge returns the configuration of a file with the links of a command line that it does not
// have.
func merge(file, extra config.Config) config.Config {
	c := file
	c.Links = slices.Clone(file.Links)
	for _, l := range extra.Links {
		if file.Find(l.ID) != nil {
			continue
		}
		if file.Find(l.Master) != nil { // The file says what its members are.
			l.Master = ""
		}
		c.Links = append(c.Links, l)
	}
	return c
}
