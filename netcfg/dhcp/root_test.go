package dhcp

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/netcfg/lease"
	"keelson/runtime/timeline"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

func TestMain(m *testing.M) { nstest.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, line string) string {
	t.Helper()
	f := strings.Fields(line)
	out, err := exec.Command(f[0], f[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

// A lease of dnsmasq with all options; after a restart and a lost carrier it is asked for again,
// and in the end it is given back.
func TestLease(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.dnsmasq("--interface=br0 --dhcp-range=192.0.2.10,192.0.2.20,255.255.255.0,1h --dhcp-option=option:router,192.0.2.1 --dhcp-option=option:dns-server,192.0.2.53,192.0.2.54 " +
			"--dhcp-option=option:domain-name,example.org --dhcp-option=option:domain-search,a.example,b.example --dhcp-option=option:mtu,1400 --dhcp-option=option:ntp-server,192.0.2.123 " +
			"--dhcp-option=option:static-route,198.51.100.0,192.0.2.2 --dhcp-host=02:00:00:00:00:01,192.0.2.10,named")
		run(t, "ip link set eth0 down")
		run(t, "ip link set eth0 address 02:00:00:00:00:01 up")
		stop := w.manager("eth0")
		w.until("a lease", func() bool { return w.lease("eth0") != nil })
		l := w.lease("eth0")
		if l.Address != netip.MustParsePrefix("192.0.2.10/24") || l.Server.String() != "192.0.2.1" || len(l.DNS) != 2 || l.Domain != "example.org" || strings.Join(l.Search, " ") != "a.example b.example" ||
			l.MTU != 1400 || len(l.NTP) != 1 || l.Hostname != "named" || len(l.Routes) != 2 {
			t.Errorf("%+v", l)
		}
		if left := l.Left(timeline.Now()); left < 50*time.Minute || left > time.Hour {
			t.Errorf("it is valid for %s", left)
		}
		text := run(t, "ip route") + run(t, "ip link show eth0") + run(t, "ip address show eth0")
		for _, want := range []string{"default via 192.0.2.1 dev eth0 proto dhcp src 192.0.2.10 metric 100", "198.51.100.0/24 via 192.0.2.2 dev eth0 proto dhcp", "192.0.2.0/24 dev eth0 proto dhcp scope link src 192.0.2.10 metric 100", "mtu 1400", "inet 192.0.2.10/24 brd 192.0.2.255"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in:\n%s", want, text)
			}
		}

		stop() // As for a swap: the address stays.
		if got := addressesOf(t, "eth0"); len(got) != 1 {
			t.Errorf("after the end: %v", got)
		}
		first := l.Obtained
		stop = w.manager("eth0")
		w.until("the lease again", func() bool { l := w.lease("eth0"); return l != nil && l.Obtained > first })
		if !strings.Contains(w.log(), "from=rebooting event=ack to=probing") {
			t.Errorf("it was not asked for again:\n%s", w.log())
		}

		// The carrier is lost and returns.
		first = w.lease("eth0").Obtained
		run(t, "ip netns exec server ip link set far0 down")
		w.until("the carrier is lost", func() bool { return strings.Contains(w.log(), "the carrier is lost") })
		run(t, "ip netns exec server ip link set far0 up")
		w.until("the lease with the carrier", func() bool { l := w.lease("eth0"); return l != nil && l.Obtained > first })
		stop()

		// A link that does not ask any more.
		request := filepath.Join(w.dir, "dhcp.json")
		all, err := Standalone([]string{"eth0"})
		must(t, err)
		must(t, lease.WriteRequest(request, lease.Request{Links: all}))
		first = w.lease("eth0").Obtained
		stop = w.start(&Manager{Request: request})
		w.until("the lease by a request", func() bool { l := w.lease("eth0"); return l != nil && l.Obtained > first })
		must(t, lease.WriteRequest(request, lease.Request{}))
		w.until("the end of the lease", func() bool { return w.lease("eth0") == nil })
		stop()
		if got := addressesOf(t, "eth0"); len(got) != 0 {
			t.Errorf("after the release: %v", got)
		}
		if text := run(t, "ip route"); text != "" {
			t.Errorf("routes are left:\n%s", text)
		}
		w.until("the release at the server", func() bool {
			text, err := os.ReadFile(filepath.Join(w.dir, "server.log"))
			return err == nil && strings.Contains(string(text), "DHCPRELEASE(br0) 192.0.2.10")
		})
	})
}

// Short leases of kea: they are renewed, and end when the server is gone; another server takes over.
func TestRenew(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newWorld(t, 1)
		const subnet = `{"id": 1, "subnet": "192.0.2.0/24", "pools": [{"pool": "192.0.2.100 - 192.0.2.110"}], "valid-lifetime": 8, "renew-timer": 2, "rebind-timer": 5,
			"option-data": [{"name": "routers", "data": "192.0.2.1"}, {"name": "classless-static-route", "code": 121, "space": "dhcp4", "csv-format": false, "data": "18CB0071C000020100C0000201"}]}`
		server := w.kea(strings.Replace(subnet, `{"name": "classless-static-route", "code": 121, "space": "dhcp4", "csv-format": false, "data": "18CB0071C000020100C0000201"}`, `{"code": 121, "space": "dhcp4", "csv-format": false, "data": "18CB0071C000020100C0000201"}`, 1))
		stop := w.manager("eth0")
		w.until("a lease", func() bool { return w.lease("eth0") != nil })
		first := *w.lease("eth0")
		if text := run(t, "ip route"); !strings.Contains(text, "203.0.113.0/24 via 192.0.2.1 dev eth0") || !strings.Contains(text, "default via 192.0.2.1") {
			t.Errorf("routes of option 121:\n%s", text)
		}
		w.until("the renewal", func() bool {
			l := w.lease("eth0")
			return l != nil && l.Expires > first.Expires && l.Address == first.Address
		})
		if !strings.Contains(w.log(), "from=renewing event=ack to=bound") {
			t.Errorf("no renewal:\n%s", w.log())
		}
		must(t, server.Process.Kill())
		_ = server.Wait()
		w.until("the end of the lease", func() bool { return w.lease("eth0") == nil })
		if got := addressesOf(t, "eth0"); len(got) != 0 {
			t.Errorf("after the end of the lease: %v", got)
		}
		if !strings.Contains(w.log(), "from=renewing event=T2 to=rebinding") || !strings.Contains(w.log(), "from=rebinding event=expired to=selecting") {
			t.Errorf("the states:\n%s", w.log())
		}
		w.dnsmasq("--interface=br0 --dhcp-range=192.0.2.30,192.0.2.40,255.255.255.0,1h")
		w.until("a lease of another server", func() bool { return len(addressesOf(t, "eth0")) == 1 })
		stop()
	})
}

// An address that another machine has is declined, and one of another network refused.
func TestConflict(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.dnsmasq("--interface=br0 --dhcp-range=192.0.2.10,192.0.2.11,255.255.255.0,1h")
		run(t, "ip link set eth1 down")
		run(t, "ip netns add other")
		run(t, "ip link set eth1 netns other")
		run(t, "ip netns exec other ip link set eth1 up")
		run(t, "ip netns exec other ip address add 192.0.2.10/24 dev eth1")
		run(t, "ip netns exec other ip address add 192.0.2.11/24 dev eth1")
		stop := w.manager("eth0")
		w.until("an address is declined", func() bool { return strings.Contains(w.log(), "from=probing event=conflict to=declining") })
		run(t, "ip netns exec other ip address flush dev eth1")
		w.until("a free address", func() bool { return w.lease("eth0") != nil })
		stop()

		// The kept lease is of a network that the server does not have.
		l := *w.lease("eth0")
		run(t, "ip address flush dev eth0")
		must(t, lease.Remove(filepath.Join(w.dir, "leases"), "eth0", 4))
		l.Address = netip.MustParsePrefix("198.51.100.7/24")
		must(t, store{dir: filepath.Join(w.dir, "kept"), family: 4}.save(l))
		stop = w.manager("eth0")
		w.until("a lease after a refusal", func() bool { return w.lease("eth0") != nil })
		if !strings.Contains(w.log(), "from=rebooting event=nak to=selecting") {
			t.Errorf("no refusal:\n%s", w.log())
		}
		stop()
	})
}

// A server gives a lease at once, and the link flaps: the lease is asked for again, each time.
func TestRapidCommit(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.dnsmasq("--interface=br0 --dhcp-range=192.0.2.10,192.0.2.20,255.255.255.0,1h --dhcp-rapid-commit")
		stop := w.manager("eth0")
		w.logs("from=selecting event=ack to=probing", 1)
		w.until("a lease", func() bool { return w.lease("eth0") != nil })
		first := w.lease("eth0").Address
		for range 10 {
			run(t, "ip netns exec server ip link set far0 down")
			run(t, "ip netns exec server ip link set far0 up")
		}
		w.until("the lease after the flaps", func() bool {
			text := w.log()
			return strings.Contains(text[max(0, strings.LastIndex(text, "the carrier is lost")):], "to=bound")
		})
		lost := strings.Count(w.log(), "the carrier is lost")
		run(t, "ip netns exec server ip link set far0 down")
		w.logs("the carrier is lost", lost+1)
		bound := strings.Count(w.log(), "to=bound")
		run(t, "ip netns exec server ip link set far0 up")
		w.logs("to=bound", bound+1)
		if got := addressesOf(t, "eth0"); len(got) != 1 || got[0] != first {
			t.Errorf("%s, then %v", first, got)
		}
		if strings.Contains(w.log(), "the lease has ended") {
			t.Errorf("the lease was given up:\n%s", w.log())
		}
		stop()

		// A reboot, with leases on a disk.
		must(t, lease.Remove(filepath.Join(w.dir, "leases"), "eth0", 4))
		run(t, "ip address flush dev eth0")
		again := strings.Count(w.log(), "from=rebooting event=ack to=probing")
		stop = w.manager("eth0")
		w.logs("from=rebooting event=ack to=probing", again+1)
		w.until("the address of before", func() bool { got := addressesOf(t, "eth0"); return len(got) == 1 && got[0] == first })
		stop()
	})
}

// Lost packets, and a server that comes late.
func TestLoss(t *testing.T) {
	tier.Long(t)
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newWorld(t, 1)
		stop := w.manager("eth0")
		w.until("no server answers", func() bool { return strings.Contains(w.log(), "no DHCP server answers") })
		w.dnsmasq("--interface=br0 --dhcp-range=192.0.2.10,192.0.2.11,255.255.255.0,1h")
		w.until("a lease", func() bool { return w.lease("eth0") != nil })
		stop()
	})
}

// Many links in one process, with both protocols, all of which lose the carrier at once.
func TestManyLinks(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		const links = 50
		w := newWorld6(t, links)
		w.dnsmasq("--interface=br0 --enable-ra --dhcp-range=192.0.2.10,192.0.2.200,255.255.255.0,1h --dhcp-range=2001:db8::100,2001:db8::1ff,64,1h")
		var names []string
		for i := range links {
			names = append(names, fmt.Sprintf("eth%d", i))
			run(t, fmt.Sprintf("ip netns exec server ip link set far%d group 7", i))
		}
		all, err := Standalone(names)
		must(t, err)
		for i := range all {
			all[i].DHCP6 = &lease.Options{}
		}
		stop := w.start(&Manager{Links: all})
		w.until("all leases", func() bool {
			all, err := lease.ReadAll(filepath.Join(w.dir, "leases"))
			return err == nil && len(all) == 2*links
		})
		seen := map[netip.Prefix]bool{}
		for _, name := range names {
			seen[w.lease(name).Address], seen[w.lease6(name).Address] = true, true
		}
		if len(seen) != 2*links {
			t.Errorf("%d links have %d addresses", links, len(seen))
		}
		w.logs("to=bound", 2*links)
		run(t, "ip netns exec server ip link set group 7 down")
		w.logs("the carrier is lost", 2*links)
		run(t, "ip netns exec server ip link set group 7 up")
		w.logs("from=rebooting event=", links)
		w.logs("from=confirming event=", links)
		w.logs("to=bound", 4*links)
		for _, name := range names {
			delete(seen, w.lease(name).Address)
			delete(seen, w.lease6(name).Address)
		}
		if len(seen) != 0 {
			t.Errorf("other addresses than before: %v", seen)
		}
		stop()
	})
}
