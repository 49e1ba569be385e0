package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"keelson/netcfg/config"
	"keelson/netcfg/lease"
)

func TestResolve(t *testing.T) {
	a := netip.MustParseAddr
	want := config.Config{Links: []config.Link{
		{ID: "lan", DNS: []netip.Addr{a("192.0.2.1")}, Search: []string{"one"}, DHCP4: config.DHCP{Enabled: true, UseDNS: true, UseDomains: true, Metric: 200}, DHCP6: config.DHCP{UseDNS: true, Metric: 50}},
		{ID: "off", DNS: []netip.Addr{a("192.0.2.2")}},
	}}
	links := map[string][]string{"lan": {"eth0"}}
	leases := []lease.Lease{
		{Link: "eth0", Family: 4, DNS: []netip.Addr{a("192.0.2.3"), a("192.0.2.1")}, Domain: "two", Search: []string{"three", "one"}},
		{Link: "eth0", Family: 6, DNS: []netip.Addr{a("2001:db8::1")}, Search: []string{"no"}},
		{Link: "eth7", Family: 4, DNS: []netip.Addr{a("192.0.2.7")}},
	}
	r := resolve(want, links, leases, parseResolver("nameserver 192.0.2.9\nnameserver x\ndomain base\n"))
	if got, want := r.String(), mark+"nameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver 192.0.2.3\nnameserver 192.0.2.9\nsearch one three base\n"; got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestHosts(t *testing.T) {
	for _, x := range [][3]string{{"m", "example.org.", "127.0.1.1 m.example.org m\n"}, {"m", "", "127.0.1.1 m\n"}, {"a b\n6.6.6.6 x", "", "ip6-loopback\n"}, {"localhost", "", "ip6-loopback\n"}} {
		if got := hosts(x[0], x[1]); !strings.HasSuffix(got, x[2]) {
			t.Errorf("%q: %q", x, got)
		}
	}
}

func TestCommandLine(t *testing.T) {
	c := CommandLine("quiet ip=dhcp ip=eth1:dhcp6 ip=192.0.2.1::192.0.2.2:24::eth2:none ip=eth3:bootp", "")
	if len(c.Links) != 2 || c.Links[0].Match.Name != "*" || !c.Links[0].DHCP4.Enabled || c.Links[1].ID != "eth1" || !c.Links[1].DHCP6.Enabled || len(c.Notes) != 1 {
		t.Errorf("%+v", c)
	}
	if c := CommandLine("ip=dhcp", "#PROTO: DHCP\nnameserver 192.0.2.1\n"); len(c.Links) != 0 {
		t.Errorf("what the kernel has configured: %+v", c)
	}
}

func TestDifferences(t *testing.T) {
	before := snapshot{"link eth0": "eth0 is up", "address eth0 192.0.2.1/24": "x", "lease eth0 4": "y"}
	got := snapshot{"link eth0": "eth0 has no carrier"}.differences(before)
	if want := []string{"eth0 has lost the address 192.0.2.1/24", "eth0 has lost its lease of DHCPv4", "eth0 has no carrier"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// No lease or file of others gets lines into resolv.conf or hosts.
func FuzzNames(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nsearch a b", "name", "example.org")
	f.Fuzz(func(t *testing.T, resolv, name, domain string) {
		for line := range strings.Lines(parseResolver(resolv).String()) {
			if !strings.HasPrefix(line, "nameserver ") && !strings.HasPrefix(line, "search ") && line != mark {
				t.Errorf("a line %q", line)
			}
		}
		l := lease.Lease{Link: "eth0", Family: 4, Domain: domain, Search: []string{domain}}
		want := config.Config{Links: []config.Link{{ID: "eth0", DHCP4: config.DHCP{UseDNS: true, UseDomains: true}}}}
		for line := range strings.Lines(resolve(want, map[string][]string{"eth0": {"eth0"}}, []lease.Lease{l}, resolver{}).String()) {
			if !strings.HasPrefix(line, "search ") && line != mark {
				t.Errorf("a line %q", line)
			}
		}
		if n := strings.Count(hosts(name, ""), "\n"); n > 4 {
			t.Errorf("%d lines of hosts", n)
		}
	})
}
