package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/netcfg/config"
	"keelson/netcfg/lease"
	"keelson/netcfg/plan"
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

func TestValid(t *testing.T) {
	now := time.Hour
	got := valid([]lease.Lease{{Link: "ended", Expires: now - time.Minute}, {Link: "ends", Expires: now + time.Second}, {Link: "valid", Expires: now + time.Minute}, {Link: "information", Expires: lease.Forever}}, now)
	if len(got) != 2 || got[0].Link != "valid" || got[1].Link != "information" {
		t.Errorf("%+v", got)
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
	if len(c.Links) != 2 || c.Links[1].Match.Name != "*" || !c.Links[1].DHCP4.Enabled || c.Links[0].ID != "eth1" || !c.Links[0].DHCP6.Enabled || len(c.Notes) != 1 {
		t.Errorf("%+v", c)
	}
	for line, want := range map[string]int{`"ip=eth0:dhcp"`: 1, `ip="eth0:dhcp"`: 1, `x="a ip=dhcp b"`: 0, "-- ip=dhcp": 0} {
		if c := CommandLine(line, ""); len(c.Links) != want {
			t.Errorf("%s: %+v", line, c)
		}
	}
	if c := CommandLine("ip=dhcp", "#PROTO: DHCP\nnameserver 192.0.2.1\n"); len(c.Links) != 0 {
		t.Errorf("what the kernel has configured: %+v", c)
	}
	if c := CommandLine("ip=dhcp ip=eth0:dhcp6", "#PROTO: DHCP\nnameserver 192.0.2.1\n"); len(c.Links) != 1 || c.Links[0].DHCP4.Enabled || !c.Links[0].DHCP6.Enabled {
		t.Errorf("IPv6, which the kernel has not configured: %+v", c)
	}
}

// A client identifier holds for DHCP of IPv4.
func TestCommandLineClientID(t *testing.T) {
	c := CommandLine("ip=dhcp6 ip=dhcp,1,box", "")
	if len(c.Links) != 1 || options(c.Links[0].DHCP4).ClientID != "01626f78" || c.Links[0].DHCP6.ClientID != "" {
		t.Errorf("%+v", c)
	}
}

// A parameter beside another one, and the same twice.
func TestCommandLineMethods(t *testing.T) {
	for _, line := range []string{"ip=dhcp ip=dhcp6", "ip=eth0:dhcp6 ip=eth0:dhcp ip=eth0:dhcp", "ip=eth0:on ip=eth0:either6"} {
		if c := CommandLine(line, ""); len(c.Links) != 1 || !c.Links[0].DHCP4.Enabled || !c.Links[0].DHCP6.Enabled {
			t.Errorf("%s: %+v", line, c)
		}
	}
}

func TestCommandLineLinks(t *testing.T) {
	c := CommandLine("vlan=vlan0005:bond0 bond=bond0:eth0,eth1:mode=1,miimon=100,primary=eth1,arp_all_targets=0:1400 vlan=eth2.7:eth2 ip=dhcp ip=vlan0005:dhcp6 ip=eth1:dhcp", "")
	var got []string
	for _, l := range c.Links {
		got = append(got, fmt.Sprintf("%s %s master %q parent %q id %d mtu %d dhcp %t %t", l.ID, l.Kind, l.Master, l.Parent, l.VLANID, l.MTU, l.DHCP4.Enabled, l.DHCP6.Enabled))
		if l.Fallback != (l.Kind == config.Physical) {
			t.Errorf("%+v", l)
		}
	}
	want := []string{
		`bond0 bond master "" parent "" id 0 mtu 1400 dhcp false false`, `eth0  master "bond0" parent "" id 0 mtu 0 dhcp false false`, `eth1  master "bond0" parent "" id 0 mtu 0 dhcp false false`,
		`eth2  master "" parent "" id 0 mtu 0 dhcp false false`, `eth2.7 vlan master "" parent "eth2" id 7 mtu 0 dhcp true false`, `vlan0005 vlan master "" parent "bond0" id 5 mtu 0 dhcp false true`,
		`ip=  master "" parent "" id 0 mtu 0 dhcp true false`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if b := c.Find("bond0").Bond; b.Mode != "active-backup" || b.MIIMonitor != 100 || b.Primary != "eth1" || b.ARPAllTargets != "any" {
		t.Errorf("%+v", b)
	}
	if want := []string{"ip=eth1:dhcp: a member of the bond bond0 has no addresses of its own"}; !slices.Equal(c.Notes, want) {
		t.Errorf("%q", c.Notes)
	}
	if c := CommandLine("bond", ""); len(c.Links) != 3 || c.Find("eth1").Master != "bond0" || c.Find("bond0").Bond.Mode != "balance-rr" {
		t.Errorf("%+v", c)
	}
	b := CommandLine("bond=b:eth0:arp_interval=50,arp_ip_target=192.0.2.1;192.0.2.2,lacp_rate=fast,all_slaves_active=1 ip=dhcp", "#PROTO: DHCP\n").Find("b")
	if b == nil || len(b.Bond.ARPTargets) != 2 || b.Bond.LACPRate != "fast" || !b.Bond.AllMembersActive || b.DHCP4.Enabled {
		t.Errorf("%+v", b)
	}
}

// A parameter with a mistake is told, and the others are used.
func TestCommandLineMistakes(t *testing.T) {
	for word, want := range map[string]string{
		"vlan=five:eth0":              `"five" has no number of a VLAN`,
		"vlan=vlan5":                  "want the device of vlan5",
		"vlan=vlan5000:eth0":          "vlans.vlan5000.id: want 0 to 4094, not 5000",
		"vlan=vlan8:eth0":             "vlan8 is there already",
		"vlan=vlan9:vlan9":            "cannot be made from itself",
		"bond=b:eth0:mode=fast":       `bonds.b.parameters.mode: want balance-rr`,
		"bond=b:eth0:mode=99":         `bonds.b.parameters.mode: want balance-rr`,
		"bond=b:eth0:miimon=x":        "want a whole number",
		"bond=b:eth0:speed=5":         `there is no option "speed" of bonds`,
		"bond=b:eth0:mode=1:tall":     `"tall" is no MTU`,
		"bond=b:eth0:mode=1:5":        "bonds.b.mtu: want 68 to 65535, not 5",
		"bond=b:b":                    "cannot be a member of itself",
		"bond=a/b:eth0":               "cannot be the name of a link",
		"bond=:eth0":                  "cannot be the name of a link",
		"ip=eth3:bootp":               "there is no client for bootp",
		"bond=b:eth0:arp_ip_target=x": `"x" is no address`,
	} {
		c := CommandLine("vlan=vlan8:eth7 "+word, "")
		if len(c.Notes) == 0 || !strings.HasPrefix(c.Notes[0], word+": ") || !strings.Contains(strings.Join(c.Notes, "\n"), want) {
			t.Errorf("%s: %q, want %s", word, c.Notes, want)
		}
		if len(c.Links) != 2 || c.Find("vlan8") == nil {
			t.Errorf("%s: %+v", word, c.Links)
		}
	}
}

// The file has precedence.
func TestMerge(t *testing.T) {
	file, err := config.Parse([]byte("network: {ethernets: {eth0: {mtu: 1400}}, bonds: {bond0: {}}}"), "netcfg.yml")
	if err != nil {
		t.Fatal(err)
	}
	c := merge(file, CommandLine("bond=bond0:eth0,eth1 vlan=vlan5:eth0", ""))
	if len(c.Links) != 4 || c.Find("eth0").MTU != 1400 || c.Find("eth1").Master != "" || c.Find("vlan5").Parent != "eth0" || len(file.Links) != 2 {
		t.Errorf("%+v", c.Links)
	}
}

// No command line leads to a plan that panics, and all links have what they are made from.
func FuzzCommandLine(f *testing.F) {
	f.Add("vlan=vlan5:bond0 bond=bond0:eth0,eth1:mode=1,miimon=100:1400 ip=dhcp ip=eth0:dhcp6", "network: {ethernets: {eth0: {}}}")
	f.Add("bond bond= vlan=: ip=::::::dhcp bond=b:\x00 vlan=b.1:b", "")
	f.Fuzz(func(t *testing.T, line, text string) {
		file, err := config.Parse([]byte(text), "f.yml")
		if err != nil {
			return
		}
		c := merge(file, CommandLine(line, ""))
		for _, l := range c.Links {
			if l.Parent != "" && c.Find(l.Parent) == nil || l.Master != "" && c.Find(l.Master) == nil {
				t.Errorf("%+v", l)
			}
		}
		plan.Plan(c, plan.State{Links: []plan.Link{{Index: 1, Name: "eth0"}, {Index: 2, Name: "eth1"}}}, plan.NewOwn())
	})
}

func TestGrouped(t *testing.T) {
	if got, want := grouped([]string{"aaa", "bbb", "cccccc", "d"}, 9), []string{"aaa; bbb", "cccccc; d"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	var many []string
	for range 100 {
		many = append(many, strings.Repeat("x", 50))
	}
	reports := grouped(many, reportLimit)
	if n := strings.Count(strings.Join(reports, "; "), ";") + 1; n != 100 || len(reports) > 6 {
		t.Errorf("%d texts in %d reports", n, len(reports))
	}
	for _, r := range reports {
		if len(r) > reportLimit {
			t.Errorf("a report of %d bytes", len(r))
		}
	}
	if grouped(nil, 9) != nil {
		t.Error("nothing is reported")
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
