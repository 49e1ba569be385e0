package dhcp

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/netcfg/lease"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// newWorld6 is newWorld with a network of IPv6.
func newWorld6(t *testing.T, links int) *world {
	t.Helper()
	w := newWorld(t, links)
	run(t, "ip netns exec server ip address add 2001:db8::1/64 dev br0 nodad")
	return w
}

func (w *world) lease6(link string) *lease.Lease {
	l, known, err := lease.Read(filepath.Join(w.dir, "leases"), link, 6)
	if err != nil || !known {
		return nil
	}
	return &l
}

// manager6 starts a Manager that asks for IPv6 only.
func (w *world) manager6(o lease.Options, links ...string) (stop func()) {
	var all []lease.Link
	for _, name := range links {
		all = append(all, lease.Link{Name: name, DHCP6: &o})
	}
	return w.start(&Manager{Links: all})
}

// Routers say that addresses are to be had by DHCP: one is asked for, and given back.
func TestStateful(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newWorld6(t, 1)
		w.dnsmasq("--interface=br0 --enable-ra --dhcp-range=2001:db8::100,2001:db8::1ff,64,1h --dhcp-option=option6:dns-server,[2001:db8::53] --dhcp-option=option6:domain-search,a.example")
		request := filepath.Join(w.dir, "dhcp.json")
		must(t, lease.WriteRequest(request, lease.Request{Links: []lease.Link{{Name: "eth0", DHCP6: &lease.Options{}}}}))
		stop := w.start(&Manager{Request: request})
		w.until("a lease", func() bool { return w.lease6("eth0") != nil })
		l := w.lease6("eth0")
		if !netip.MustParsePrefix("2001:db8::100/120").Contains(l.Address.Addr()) || l.Address.Bits() != 128 || len(l.DNS) != 1 || l.DNS[0].String() != "2001:db8::53" || len(l.Search) != 1 {
			t.Errorf("%+v", l)
		}
		if text := run(t, "ip -6 address show dev eth0"); !strings.Contains(text, l.Address.String()) {
			t.Errorf("no address %s:\n%s", l.Address, text)
		}
		if !strings.Contains(w.log(), "from=soliciting event=ack to=probing") {
			t.Errorf("no Rapid Commit:\n%s", w.log())
		}
		first := *l
		same := func(how string) {
			t.Helper()
			if again := w.lease6("eth0"); again == nil || again.Address != first.Address {
				t.Errorf("%s: %s, then %+v", how, first.Address, again)
			}
		}
		w.logs("event=free to=bound", 1)
		stop() // As for a swap.
		stop = w.start(&Manager{Request: request})
		w.logs("from=confirming event=ack to=probing", 1)
		same("after a restart")
		w.logs("event=free to=bound", 2)
		run(t, "ip netns exec server ip link set far0 down")
		w.logs("the carrier is lost", 1)
		run(t, "ip netns exec server ip link set far0 up")
		w.logs("from=confirming event=ack to=probing", 2)
		w.logs("event=free to=bound", 3)
		same("after a lost carrier")

		stop() // A reboot, with leases on a disk.
		must(t, lease.Remove(filepath.Join(w.dir, "leases"), "eth0", 6))
		run(t, "ip address delete "+first.Address.String()+" dev eth0")
		stop = w.start(&Manager{Request: request})
		w.logs("from=rebooting event=ack to=probing", 1)
		w.logs("event=free to=bound", 4)
		same("after a reboot")
		must(t, lease.WriteRequest(request, lease.Request{}))
		w.until("the end of the lease", func() bool { return w.lease6("eth0") == nil })
		w.until("the release at the server", func() bool {
			text, err := os.ReadFile(filepath.Join(w.dir, "server.log"))
			return err == nil && strings.Contains(string(text), "DHCPRELEASE(br0)")
		})
		stop()
		if text := run(t, "ip -6 address show dev eth0"); strings.Contains(text, first.Address.Addr().String()+"/128") {
			t.Errorf("the address is left:\n%s", text)
		}
	})
}

// Without an answer, a lease is used as long as it is valid. It does not fit another network.
func TestNotOnLink(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newWorld6(t, 1)
		server := w.dnsmasq("--interface=br0 --enable-ra --dhcp-range=2001:db8::100,2001:db8::1ff,64,1h")
		stop := w.manager6(lease.Options{}, "eth0")
		w.until("a lease", func() bool { return w.lease6("eth0") != nil })
		first := *w.lease6("eth0")
		run(t, "ip netns exec server ip link set far0 down")
		w.logs("the carrier is lost", 1)
		must(t, server.Process.Kill())
		_ = server.Wait()
		bound := strings.Count(w.log(), "to=bound")
		run(t, "ip netns exec server ip link set far0 up")
		w.logs("from=confirming event=\"no answer\" to=probing", 1)
		w.logs("to=bound", bound+1)
		if text := run(t, "ip -6 address show dev eth0"); !strings.Contains(text, first.Address.String()) || w.lease6("eth0") == nil {
			t.Errorf("no address %s:\n%s", first.Address, text)
		}
		run(t, "ip netns exec server ip link set far0 down")
		w.logs("the carrier is lost", 2)
		run(t, "ip netns exec server ip address delete 2001:db8::1/64 dev br0")
		run(t, "ip netns exec server ip address add 2001:db8:9::1/64 dev br0 nodad")
		w.dnsmasq("--interface=br0 --enable-ra --dhcp-range=2001:db8:9::100,2001:db8:9::1ff,64,1h")
		run(t, "ip netns exec server ip link set far0 up")
		w.logs("from=confirming event=nak to=soliciting", 1)
		w.until("a lease of the other network", func() bool {
			l := w.lease6("eth0")
			return l != nil && netip.MustParsePrefix("2001:db8:9::/64").Contains(l.Address.Addr())
		})
		if text := run(t, "ip -6 address show dev eth0"); strings.Contains(text, first.Address.Addr().String()+"/128") {
			t.Errorf("the old address is left:\n%s", text)
		}
		stop()
	})
}

// Routers say that only other information is to be had.
func TestStateless(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newWorld6(t, 1)
		w.dnsmasq("--interface=br0 --enable-ra --dhcp-range=2001:db8::,ra-stateless --dhcp-option=option6:dns-server,[2001:db8::53]")
		stop := w.manager6(lease.Options{}, "eth0")
		w.until("information", func() bool { return w.lease6("eth0") != nil })
		if l := w.lease6("eth0"); l.Address.IsValid() || len(l.DNS) != 1 || l.Expires != lease.Forever {
			t.Errorf("%+v", l)
		}
		stop()
	})
}

// Short leases of kea with a delegated prefix: they are renewed, and end when the server is gone.
func TestDelegation(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		tier.Tool(t, "kea-dhcp6", "kea-dhcp6-server")
		tier.Tool(t, "radvd", "radvd")
		w := newWorld6(t, 1)
		file := filepath.Join(w.dir, "kea.json")
		must(t, os.WriteFile(file, []byte(`{"Dhcp6": {"interfaces-config": {"interfaces": ["br0"]}, "server-id": {"type": "LL", "persist": false}, "lease-database": {"type": "memfile", "persist": false}, "loggers": [{"name": "kea-dhcp6", "output_options": [{"output": "stdout"}], "severity": "INFO"}],
			"subnet6": [{"id": 1, "rapid-commit": true, "subnet": "2001:db8::/64", "interface": "br0", "pools": [{"pool": "2001:db8::100 - 2001:db8::1ff"}], "pd-pools": [{"prefix": "2001:db8:1::", "prefix-len": 48, "delegated-len": 56}],
			"preferred-lifetime": 6, "valid-lifetime": 12, "renew-timer": 2, "rebind-timer": 5}]}}`), 0o644))
		must(t, os.MkdirAll("/run/kea", 0o755))
		w.until("the server's link", func() bool {
			return !strings.Contains(run(t, "ip netns exec server ip -6 address show dev br0"), "tentative")
		})
		server := w.program("env KEA_LOCKFILE_DIR=" + w.dir + " KEA_PIDFILE_DIR=" + w.dir + " kea-dhcp6 -c " + file)
		run(t, "ip netns exec server sysctl -qw net.ipv6.conf.all.forwarding=1")
		config := filepath.Join(w.dir, "radvd.conf")
		must(t, os.WriteFile(config, []byte("interface br0 { AdvSendAdvert on; AdvManagedFlag on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; };\n"), 0o644))
		w.program("radvd -n -C " + config + " -p " + filepath.Join(w.dir, "radvd.pid") + " -m stderr")
		stop := w.manager6(lease.Options{Prefixes: true}, "eth0")
		w.until("an address and a prefix", func() bool { l := w.lease6("eth0"); return l != nil && l.Address.IsValid() && len(l.Prefixes) > 0 })
		first := *w.lease6("eth0")
		if len(first.Prefixes) != 1 || first.Prefixes[0].Bits() != 56 || !netip.MustParsePrefix("2001:db8:1::/48").Contains(first.Prefixes[0].Addr()) {
			t.Errorf("%+v", first)
		}
		if !strings.Contains(w.log(), "from=soliciting event=ack to=probing") {
			t.Errorf("no Rapid Commit:\n%s", w.log())
		}
		w.until("the renewal", func() bool { l := w.lease6("eth0"); return l != nil && l.Expires > first.Expires })
		if again := w.lease6("eth0"); again.Address != first.Address || len(again.Prefixes) != 1 || again.Prefixes[0] != first.Prefixes[0] || again.Preferred >= again.Expires {
			t.Errorf("%+v, then %+v", first, again)
		}
		must(t, server.Process.Kill())
		_ = server.Wait()
		w.until("the address is deprecated", func() bool {
			text := run(t, "ip -6 address show dev eth0")
			return strings.Contains(text, first.Address.String()+" scope global deprecated") && strings.Contains(text, "preferred_lft 0sec")
		})
		w.until("the end of the lease", func() bool { return w.lease6("eth0") == nil })
		if !strings.Contains(w.log(), "from=renewing event=T2 to=rebinding") || !strings.Contains(w.log(), "from=rebinding event=expired to=soliciting") {
			t.Errorf("the states:\n%s", w.log())
		}
		w.dnsmasq("--interface=br0 --dhcp-range=2001:db8::200,2001:db8::2ff,64,1h")
		w.until("an address of another server", func() bool {
			l := w.lease6("eth0")
			return l != nil && netip.MustParsePrefix("2001:db8::200/120").Contains(l.Address.Addr())
		})
		stop()
	})
}

// A server without a free address is asked until it has one.
func TestNoAddresses(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newWorld6(t, 2)
		w.dnsmasq("--interface=br0 --enable-ra --dhcp-range=2001:db8::100,2001:db8::100,64,1h")
		request := filepath.Join(w.dir, "dhcp.json")
		ask := func(links ...string) {
			var r lease.Request
			for _, name := range links {
				r.Links = append(r.Links, lease.Link{Name: name, DHCP6: &lease.Options{}})
			}
			must(t, lease.WriteRequest(request, r))
		}
		ask("eth0")
		stop := w.start(&Manager{Request: request})
		w.until("a lease", func() bool { return w.lease6("eth0") != nil })
		ask("eth0", "eth1")
		w.until("the server has no address", func() bool {
			text, err := os.ReadFile(filepath.Join(w.dir, "server.log"))
			return err == nil && strings.Contains(string(text), "no addresses available")
		})
		if l := w.lease6("eth1"); l != nil {
			t.Errorf("%+v", l)
		}
		ask("eth1")
		w.until("the free address", func() bool { return w.lease6("eth1") != nil })
		stop()
	})
}

// An address that another machine has is declined: the kernel removes it.
func TestConflict6(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newWorld6(t, 2)
		run(t, "ip netns add other")
		run(t, "ip link set eth1 netns other")
		run(t, "ip netns exec other ip link set eth1 up")
		run(t, "ip netns exec other ip address add 2001:db8::100/64 dev eth1 nodad")
		run(t, "ip link set eth0 down")
		run(t, "ip link set eth0 address 02:00:00:00:00:01 up")
		w.dnsmasq("--interface=br0 --enable-ra --dhcp-range=2001:db8::100,2001:db8::101,64,1h --dhcp-host=id:00:03:00:01:02:00:00:00:00:01,[2001:db8::100]")
		stop := w.manager6(lease.Options{}, "eth0")
		w.until("the address is declined", func() bool { return strings.Contains(w.log(), "from=declining event=waited to=soliciting") })
		text, err := os.ReadFile(filepath.Join(w.dir, "server.log"))
		if err != nil || !strings.Contains(string(text), "DHCPDECLINE(br0)") {
			t.Errorf("the server does not know: %v\n%s", err, text)
		}
		stop()
	})
}
