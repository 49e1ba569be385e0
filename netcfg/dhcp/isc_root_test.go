package dhcp

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keelson/netcfg/lease"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// isc starts Debian's isc-dhcp-server with a configuration.
func (w *world) isc(config, options string) *exec.Cmd {
	w.t.Helper()
	tier.Tool(w.t, "dhcpd", "isc-dhcp-server")
	file, leases := filepath.Join(w.dir, "dhcpd.conf"), filepath.Join(w.dir, "dhcpd.leases")
	must(w.t, os.WriteFile(file, []byte(config), 0o644))
	must(w.t, os.WriteFile(leases, nil, 0o644))
	return w.program("dhcpd -f -d -cf " + file + " -lf " + leases + " -pf " + filepath.Join(w.dir, "dhcpd.pid") + " " + options + " br0")
}

// isc-dhcp-server gives short leases with classless routes, and renews them.
func TestISC(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.isc(`authoritative; option rfc3442 code 121 = array of unsigned integer 8;
			subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.10 192.0.2.20; option domain-name-servers 192.0.2.53; option domain-name "example.org";
			option rfc3442 24,203,0,113,192,0,2,1, 0,192,0,2,1; min-lease-time 6; default-lease-time 6; max-lease-time 6; }`, "-4")
		stop := w.manager("eth0")
		w.until("a lease", func() bool { return w.lease("eth0") != nil })
		first := *w.lease("eth0")
		if text := run(t, "ip route"); !strings.Contains(text, "203.0.113.0/24 via 192.0.2.1 dev eth0") || !strings.Contains(text, "default via 192.0.2.1") || first.Domain != "example.org" {
			t.Errorf("%+v with routes:\n%s", first, text)
		}
		w.until("the renewal", func() bool {
			l := w.lease("eth0")
			return l != nil && l.Expires > first.Expires && l.Address == first.Address
		})
		stop()
	})
}

// radvd says that addresses are to be had by DHCP, and isc-dhcp-server has them and a prefix.
func TestRadvd(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		tier.Tool(t, "radvd", "radvd")
		w := newWorld6(t, 1)
		w.until("the server's link", func() bool {
			return !strings.Contains(run(t, "ip netns exec server ip -6 address show dev br0"), "tentative")
		})
		config := filepath.Join(w.dir, "radvd.conf")
		must(t, os.WriteFile(config, []byte("interface br0 { AdvSendAdvert on; AdvManagedFlag on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix 2001:db8::/64 { AdvAutonomous off; }; };\n"), 0o644))
		run(t, "ip netns exec server sysctl -qw net.ipv6.conf.all.forwarding=1")
		w.isc("subnet6 2001:db8::/64 { range6 2001:db8::100 2001:db8::1ff; option dhcp6.name-servers 2001:db8::53; prefix6 2001:db8:100:: 2001:db8:1ff:: /56; }", "-6")
		request := filepath.Join(w.dir, "dhcp.json")
		must(t, lease.WriteRequest(request, lease.Request{Links: []lease.Link{{Name: "eth0", DHCP6: &lease.Options{Prefixes: true}}}}))
		stop := w.start(&Manager{Request: request})
		w.program("radvd -n -C " + config + " -p " + filepath.Join(w.dir, "radvd.pid") + " -m stderr")
		w.until("a lease", func() bool { return w.lease6("eth0") != nil })
		l := w.lease6("eth0")
		if !netip.MustParsePrefix("2001:db8::100/120").Contains(l.Address.Addr()) || len(l.Prefixes) != 1 || l.Prefixes[0].Bits() != 56 || len(l.DNS) != 1 {
			t.Errorf("%+v", l)
		}
		must(t, lease.WriteRequest(request, lease.Request{}))
		w.until("the end of the lease", func() bool { return w.lease6("eth0") == nil })
		stop()
	})
}

// A server that has lost its leases does not know the client's: it is asked for the same again, and the
// address stays.
func TestNoBinding(t *testing.T) {
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newWorld6(t, 1)
		w.until("the server's link", func() bool {
			return !strings.Contains(run(t, "ip netns exec server ip -6 address show dev br0"), "tentative")
		})
		config := "server-duid ll ethernet 02:00:00:00:00:99; default-lease-time 20; preferred-lifetime 16; option dhcp-renewal-time 4; option dhcp-rebinding-time 12;" +
			" subnet6 2001:db8::/64 { prefix6 2001:db8:100:: 2001:db8:1ff:: /56; }"
		server := w.isc(config, "-6")
		stop := w.manager6(lease.Options{Prefixes: true}, "eth0")
		w.until("a lease", func() bool { return w.lease6("eth0") != nil })
		must(t, server.Process.Kill())
		_ = server.Wait()
		w.isc(config, "-6")
		w.logs("from=renewing event=\"no binding\" to=requesting", 1)
		w.logs("to=bound", 2)
		if strings.Contains(w.log(), "the lease has ended") {
			t.Errorf("the lease was given up:\n%s", w.log())
		}
		stop()
	})
}
