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
		stop()
		first := *l
		stop = w.start(&Manager{Request: request})
		w.until("the same lease again", func() bool { l := w.lease6("eth0"); return l != nil && l.Obtained > first.Obtained })
		if again := w.lease6("eth0"); again.Address != first.Address {
			t.Errorf("%s, then %s", first.Address, again.Address)
		}
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

// Routers say that only other information is to be had.
func TestStateless(t *testing.T) {
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
	nstest.Run(t, func(t *testing.T) {
		tier.Tool(t, "kea-dhcp6", "kea-dhcp6-server")
		w := newWorld6(t, 1)
		file := filepath.Join(w.dir, "kea.json")
		must(t, os.WriteFile(file, []byte(`{"Dhcp6": {"interfaces-config": {"interfaces": ["br0"]}, "server-id": {"type": "LL", "persist": false}, "lease-database": {"type": "memfile", "persist": false}, "loggers": [{"name": "kea-dhcp6", "output_options": [{"output": "stdout"}], "severity": "INFO"}],
			"subnet6": [{"id": 1, "subnet": "2001:db8::/64", "interface": "br0", "pools": [{"pool": "2001:db8::100 - 2001:db8::1ff"}], "pd-pools": [{"prefix": "2001:db8:1::", "prefix-len": 48, "delegated-len": 56}],
			"preferred-lifetime": 6, "valid-lifetime": 8, "renew-timer": 2, "rebind-timer": 5}]}}`), 0o644))
		must(t, os.MkdirAll("/run/kea", 0o755))
		w.until("the server's link", func() bool {
			return !strings.Contains(run(t, "ip netns exec server ip -6 address show dev br0"), "tentative")
		})
		server := w.program("env KEA_LOCKFILE_DIR=" + w.dir + " KEA_PIDFILE_DIR=" + w.dir + " kea-dhcp6 -c " + file)
		stop := w.manager6(lease.Options{Prefixes: true}, "eth0")
		w.until("a lease", func() bool { return w.lease6("eth0") != nil })
		first := *w.lease6("eth0")
		if len(first.Prefixes) != 1 || first.Prefixes[0].Bits() != 56 || !netip.MustParsePrefix("2001:db8:1::/48").Contains(first.Prefixes[0].Addr()) {
			t.Errorf("%+v", first)
		}
		w.until("the renewal", func() bool { l := w.lease6("eth0"); return l != nil && l.Expires > first.Expires })
		must(t, server.Process.Kill())
		_ = server.Wait()
		w.until("the end of the lease", func() bool { return w.lease6("eth0") == nil })
		if !strings.Contains(w.log(), "from=renewing event=T2 to=rebinding") || !strings.Contains(w.log(), "from=rebinding event=expired to=soliciting") {
			t.Errorf("the states:\n%s", w.log())
		}
		stop()
	})
}

// An address that another machine has is declined: the kernel removes it.
func TestConflict6(t *testing.T) {
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
