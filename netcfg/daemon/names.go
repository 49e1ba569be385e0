package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"keelson/netcfg/config"
	"keelson/netcfg/lease"
	"keelson/netcfg/plan"
	"keelson/runtime/readfile"
	"keelson/runtime/resolvconf"
)

// mark is the first line of files that the service has written.
const mark = "# Written by the network service of keelson.\n"

// baseFile has the resolv.conf of before the first write, such as from ip=.
const baseFile = "resolv.base"

// searchLimit is how many domains a search list has: more are ignored by older libraries
// (resolv.conf(5)).
const searchLimit = 6

// resolver is the content of a resolv.conf.
type resolver struct {
	servers []netip.Addr
	search  []string
}

// parseResolver reads what there is to keep of a resolv.conf.
func parseResolver(text string) (r resolver) {
	servers, search := resolvconf.Parse(text)
	for _, text := range servers {
		if a, err := netip.ParseAddr(text); err == nil {
			r.servers = append(r.servers, a)
		}
	}
	r.search = search
	return r
}

func (r resolver) String() string {
	var b strings.Builder
	b.WriteString(mark)
	for i, s := range r.servers {
		if !slices.Contains(r.servers[:i], s) {
			fmt.Fprintf(&b, "nameserver %s\n", s)
		}
	}
	var search []string
	for _, s := range r.search {
		if config.DomainName(s) && !slices.Contains(search, s) && len(search) < searchLimit {
			search = append(search, s)
		}
	}
	if len(search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	}
	return b.String()
}

// resolve returns the name servers of a configuration and of leases: those of the configuration
// first, then those of leases in the order of their metrics, then base.
func resolve(want config.Config, links map[string][]string, leases []lease.Lease, base resolver) resolver {
	var r resolver
	for _, l := range want.Links {
		if len(links[l.ID]) > 0 {
			r.servers, r.search = append(r.servers, l.DNS...), append(r.search, l.Search...)
		}
	}
	leases = slices.Clone(leases)
	slices.SortStableFunc(leases, func(a, b lease.Lease) int { return policy(want, links, a).Metric - policy(want, links, b).Metric })
	for _, l := range leases {
		p := policy(want, links, l)
		if p.UseDNS {
			r.servers = append(r.servers, l.DNS...)
		}
		if p.UseDomains {
			if l.Domain != "" && len(l.Search) == 0 {
				r.search = append(r.search, l.Domain)
			}
			r.search = append(r.search, l.Search...)
		}
	}
	r.servers, r.search = append(r.servers, base.servers...), append(r.search, base.search...)
	return r
}

// policy returns what is taken of a lease; nothing of one that nobody asked for.
func policy(want config.Config, links map[string][]string, l lease.Lease) config.DHCP {
	for _, w := range want.Links {
		if slices.Contains(links[w.ID], l.Link) {
			if l.Family == 6 {
				return w.DHCP6
			}
			return w.DHCP4
		}
	}
	return config.DHCP{}
}

// names writes resolv.conf and hosts, and sets the host name.
func (d *Daemon) names(want config.Config, p plan.Result, leases []lease.Lease) {
	old, err := readfile.Limited(d.Resolv, fileLimit)
	if err != nil {
		old = nil // It is missing, or cannot be kept.
	}
	if d.base == nil {
		d.base = &resolver{}
		if strings.HasPrefix(string(old), mark) {
			if text, err := readfile.Limited(filepath.Join(d.Dir, baseFile), fileLimit); err == nil {
				*d.base = parseResolver(string(text))
			}
		} else {
			*d.base = parseResolver(string(old))
			_ = os.WriteFile(filepath.Join(d.Dir, baseFile), old, 0o644) // Lost, it is empty after a restart.
		}
	}
	r := resolve(want, p.Links, leases, *d.base)
	if text := r.String(); text != string(old) && (len(r.servers)+len(r.search) > 0 || strings.HasPrefix(string(old), mark)) {
		if err := overwrite(d.Resolv, text); err != nil {
			d.Log.Error("cannot write name servers", "error", err)
		} else {
			d.Report("name servers: " + strings.Join(texts(r.servers), " "))
		}
	}
	name := d.hostName(want, p, leases)
	var domain string
	if len(r.search) > 0 {
		domain = r.search[0]
	}
	if text := hosts(name, domain); d.Hosts != "" {
		if old, err := readfile.Limited(d.Hosts, fileLimit); err != nil || string(old) != text {
			if err := overwrite(d.Hosts, text); err != nil {
				d.Log.Error("cannot write hosts", "error", err)
			}
		}
	}
}

func texts(list []netip.Addr) (all []string) {
	for _, a := range list {
		all = append(all, a.String())
	}
	return all
}

// overwrite writes a file in place: a container that has it by a bind mount would keep the old
// one if it were replaced. No reader finds it empty.
func overwrite(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return f.Truncate(int64(len(text)))
}

// hostName returns the name of the machine, and sets that of a lease if it has none of its own.
func (d *Daemon) hostName(want config.Config, p plan.Result, leases []lease.Lease) string {
	current, err := os.Hostname()
	if err != nil {
		return ""
	}
	if d.Static || d.Hostname == "" {
		return current
	}
	for _, l := range leases {
		name, _, _ := strings.Cut(l.Hostname, ".")
		if !policy(want, p.Links, l).UseHostname || !hostLabel(name) {
			continue
		}
		if name == current {
			return current
		}
		if err := os.WriteFile(d.Hostname, []byte(name), 0o644); err != nil {
			d.Log.Error("cannot set the host name of a lease", "name", name, "error", err)
			return current
		}
		d.Log.Info("the host name is that of a lease", "name", name, "link", l.Link)
		d.Report("the host name is " + name)
		return name
	}
	return current
}

// hostLabel reports whether a text is a host name of one label (RFC 1123 section 2.1).
func hostLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-'
	})
}

// hosts returns a hosts(5) with the machine's name.
func hosts(name, domain string) string {
	text := mark + "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
	if !hostLabel(name) || name == "localhost" {
		return text
	}
	if config.DomainName(domain) {
		return text + fmt.Sprintf("127.0.1.1 %s.%s %s\n", name, strings.TrimSuffix(domain, "."), name)
	}
	return text + fmt.Sprintf("127.0.1.1 %s\n", name)
}
