package kernel

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/netcfg/config"
	"keelson/netcfg/plan"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// iproute runs the program of iproute2.
func iproute(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
	return string(out)
}

// world is a configuration with what was made of it.
type world struct {
	own  plan.Own
	want config.Config
}

func (w *world) parse(t *testing.T, text string) {
	t.Helper()
	c, err := config.Parse([]byte(text), "netcfg.yml")
	if err != nil {
		t.Fatal(err)
	}
	w.want = c
}

// apply applies the configuration until a plan is empty, and returns the changes.
func (w *world) apply(t *testing.T) (changes []string) {
	t.Helper()
	for range 5 {
		state, err := Kernel{}.Read()
		if err != nil {
			t.Fatal(err)
		}
		w.own.Prune(state)
		p := plan.Plan(w.want, state, w.own)
		if len(p.Changes) == 0 {
			return changes
		}
		for _, c := range p.Changes {
			changes = append(changes, c.String())
			w.own.Before(c)
			if err := (Kernel{}).Apply(c); err != nil {
				t.Fatalf("%v\nthe plan: %v", err, p.Changes)
			}
			w.own.After(c)
		}
	}
	state, _ := Kernel{}.Read()
	t.Fatalf("the plan is not empty after five rounds: %v", plan.Plan(w.want, state, w.own).Changes)
	return nil
}

func contains(t *testing.T, text string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(text) {
			t.Errorf("no %q in:\n%s", p, text)
		}
	}
}

// supported reports whether the kernel has links of a kind, and if not, says so.
func supported(t *testing.T, kind config.Kind, arguments ...string) bool {
	t.Helper()
	out, err := exec.Command("ip", slices.Concat([]string{"link", "add", "probe0", "type", string(kind)}, arguments)...).CombinedOutput()
	if err == nil {
		iproute(t, "link", "delete", "probe0")
		return true
	}
	if !strings.Contains(string(out), "not supported") && !strings.Contains(string(out), "Unknown device type") {
		t.Fatalf("%s: %s", kind, out)
	}
	t.Logf("this kernel has no links of kind %s: they are not tested here", kind)
	return false
}

var key = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))

func TestKinds(t *testing.T) {
	tier.Tool(t, "ip", "iproute2")
	nstest.Run(t, func(t *testing.T) {
		w := &world{own: plan.NewOwn()}
		iproute(t, "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
		iproute(t, "link", "add", "eth1", "type", "veth", "peer", "name", "far1")
		text := `network:
  ethernets:
    eth0:
      macaddress: 02:00:00:00:00:09
      mtu: 1400
      addresses: [192.0.2.2/24, "2001:db8::2/64", 192.0.2.3/24: {lifetime: 0, label: "eth0:1"}]
      link-local: []
      accept-ra: false
      routes:
        - {to: default, via: 192.0.2.1, metric: 10}
        - {to: 198.51.100.0/24, via: 203.0.113.1, on-link: true, table: 7, from: 192.0.2.2, mtu: 1300}
        - {to: "2001:db8:1::/48", via: "2001:db8::1"}
        - {to: 203.0.113.0/24, type: blackhole}
        - {to: 203.0.114.0/24, scope: link}
      routing-policy:
        - {from: 192.0.2.2, table: 7, priority: 100}
        - {to: "2001:db8:2::/48", table: 8}
    eth1: {}
  virtual-ethernets:
    veth0: {peer: veth1}
    veth1: {peer: veth0, addresses: [10.3.0.1/30]}
`
		if supported(t, config.Dummy) {
			text += "  dummy-devices:\n    dummy0: {addresses: [10.9.9.9/32], routes: [{to: 10.9.10.0/24, scope: link}]}\n"
		}
		bridges := supported(t, config.Bridge)
		if bridges {
			text += "  bridges:\n    br0: {interfaces: [eth1, veth0], parameters: {stp: true, forward-delay: 4, priority: 100, path-cost: {eth1: 50}, port-priority: {veth0: 5}}, addresses: [10.1.0.1/16]}\n"
		}
		if supported(t, config.VLAN, "id", "5") || vlans(t) {
			text += "  vlans:\n    vlan5: {id: 5, link: eth0, addresses: [10.5.0.1/24]}\n"
		}
		macvlans := kindOn(t, config.MACVLAN)
		if macvlans {
			text += "  macvlans:\n    mv0: {link: eth0, mode: private}\n"
		}
		if kindOn(t, config.IPVLAN) && !macvlans {
			text += "  ipvlans:\n    iv0: {link: eth0, mode: l3}\n"
		}
		if supported(t, config.VRF, "table", "1000") {
			text += "  vrfs:\n    red: {table: 1000, interfaces: [veth1], routes: [{to: 10.4.0.0/16, via: 10.3.0.2}]}\n"
		}
		bonds := supported(t, config.Bond)
		if bonds {
			iproute(t, "link", "add", "eth2", "type", "veth", "peer", "name", "far2")
			text += "  bonds:\n    bond0: {interfaces: [eth2], parameters: {mode: active-backup, mii-monitor-interval: 100, primary: eth2}, addresses: [10.6.0.1/24]}\n"
			text = strings.Replace(text, "    eth1: {}\n", "    eth1: {}\n    eth2: {}\n", 1)
		}
		w.parse(t, text)
		if changes := w.apply(t); len(changes) < 20 {
			t.Errorf("%d changes: %q", len(changes), changes)
		}
		contains(t, iproute(t, "address", "show", "eth0"), "02:00:00:00:00:09", "mtu 1400", "inet 192.0.2.2/24", "inet6 2001:db8::2/64", "192.0.2.3/24.* deprecated eth0:1")
		if text := iproute(t, "-6", "address", "show", "eth0"); strings.Contains(text, "fe80") {
			t.Errorf("there is a link-local address:\n%s", text)
		}
		contains(t, iproute(t, "route", "show", "proto", "75"), "default via 192.0.2.1 dev eth0 metric 10", "blackhole 203.0.113.0/24", "203.0.114.0/24 dev eth0 scope link")
		contains(t, iproute(t, "route", "show", "table", "7"), "198.51.100.0/24 via 203.0.113.1 dev eth0.* src 192.0.2.2.*mtu 1300 onlink|198.51.100.0/24 via 203.0.113.1 dev eth0.* src 192.0.2.2.* onlink mtu 1300|198.51.100.0/24.*onlink")
		contains(t, iproute(t, "-6", "route", "show", "proto", "75"), "2001:db8:1::/48 via 2001:db8::1 dev eth0")
		contains(t, iproute(t, "rule"), "100:\tfrom 192.0.2.2 lookup 7")
		contains(t, iproute(t, "-6", "rule"), "to 2001:db8:2::/48 lookup 8")
		if bridges {
			contains(t, iproute(t, "-d", "link", "show", "br0"), "stp_state 1", "forward_delay 400", "8064|priority 100|bridge_id")
			contains(t, iproute(t, "-d", "link", "show", "eth1"), "master br0", "cost 50")
		}
		if bonds {
			contains(t, iproute(t, "-d", "link", "show", "bond0"), "mode active-backup", "miimon 100")
			contains(t, iproute(t, "link", "show", "eth2"), "master bond0")
		}
		if changes := w.apply(t); len(changes) != 0 {
			t.Errorf("the second time: %q", changes)
		}

		// A link that is gone comes back and gets all of it again.
		iproute(t, "link", "delete", "eth0")
		state, err := Kernel{}.Read()
		if err != nil {
			t.Fatal(err)
		}
		if p := plan.Plan(w.want, state, w.own); !slices.Contains(p.Missing, "eth0") {
			t.Errorf("missing: %q", p.Missing)
		}
		iproute(t, "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
		w.apply(t)
		contains(t, iproute(t, "route", "show", "proto", "75"), "default via 192.0.2.1 dev eth0 metric 10")
		if changes := w.apply(t); len(changes) != 0 {
			t.Errorf("after that: %q", changes)
		}

		// What is not keelson's stays, and what is goes.
		iproute(t, "address", "add", "192.0.2.77/24", "dev", "eth0")
		iproute(t, "route", "add", "198.18.0.0/15", "via", "192.0.2.1")
		iproute(t, "link", "add", "mine0", "type", "veth", "peer", "name", "mine1")
		iproute(t, "rule", "add", "from", "192.0.2.77", "table", "9")
		w.parse(t, "network: {}")
		w.apply(t)
		all := iproute(t, "address") + iproute(t, "route") + iproute(t, "rule") + iproute(t, "-6", "rule") + iproute(t, "route", "show", "table", "all")
		contains(t, all, "192.0.2.77/24", "198.18.0.0/15 via 192.0.2.1", "mine0", "from 192.0.2.77 lookup 9")
		for _, gone := range []string{"192.0.2.2/24", "192.0.2.3/24", "2001:db8::2/64", "veth0", "br0", "dummy0", "bond0", "red:", "default via 192.0.2.1", "blackhole", "lookup 7", "lookup 8"} {
			if strings.Contains(all, gone) {
				t.Errorf("%s is left:\n%s", gone, all)
			}
		}
		if len(w.own.Links)+len(w.own.Addresses)+len(w.own.Ports) != 0 {
			t.Errorf("the record: %+v", w.own)
		}
	})
}

// vlans reports whether a kernel has VLANs, which need a link.
func vlans(t *testing.T) bool { return kindOn(t, config.VLAN, "id", "5") }

// kindOn is supported for kinds that are made from another link.
func kindOn(t *testing.T, kind config.Kind, arguments ...string) bool {
	t.Helper()
	out, err := exec.Command("ip", slices.Concat([]string{"link", "add", "link", "eth1", "probe0", "type", string(kind)}, arguments)...).CombinedOutput()
	if err == nil {
		iproute(t, "link", "delete", "probe0")
		return true
	}
	t.Logf("this kernel has no links of kind %s (%s): they are not tested here", kind, strings.TrimSpace(string(out)))
	return false
}

func TestRename(t *testing.T) {
	tier.Tool(t, "ip", "iproute2")
	nstest.Run(t, func(t *testing.T) {
		w := &world{own: plan.NewOwn()}
		iproute(t, "link", "add", "eth0", "address", "02:00:00:00:00:07", "type", "veth", "peer", "name", "far0")
		iproute(t, "link", "set", "eth0", "up")
		w.parse(t, `network: {ethernets: {lan: {match: {name: eth0, macaddress: "02:00:00:00:00:07"}, set-name: lan0, addresses: [192.0.2.2/24]}}}`)
		w.apply(t)
		contains(t, iproute(t, "address", "show", "lan0"), "192.0.2.2/24", "UP")
		if changes := w.apply(t); len(changes) != 0 {
			t.Errorf("the second time: %q", changes)
		}
	})
}

// Links that get other parents, peers and kinds, whose names others need, change in one round.
func TestOthers(t *testing.T) {
	tier.Tool(t, "ip", "iproute2")
	nstest.Run(t, func(t *testing.T) {
		w := &world{own: plan.NewOwn()}
		iproute(t, "link", "add", "eth1", "type", "veth", "peer", "name", "far1")
		bridges, macvlans := supported(t, config.Bridge), kindOn(t, config.MACVLAN)
		first := "network:\n  virtual-ethernets:\n    c: {peer: d, addresses: [10.3.0.1/30]}\n    d: {peer: c}\n"
		second := "network:\n  virtual-ethernets:\n    b: {peer: c}\n    c: {peer: b, addresses: [10.3.0.1/30]}\n"
		if bridges {
			first += "  bridges:\n    b: {}\n"
			second += "  bridges:\n    d: {}\n"
		}
		if macvlans {
			first += "  macvlans:\n    m: {link: c}\n"
			second += "  macvlans:\n    m: {link: b}\n"
		}
		for range 2 {
			for _, text := range []string{first, second} {
				w.parse(t, text)
				w.apply(t)
				if out := iproute(t, "address", "show", "c"); !strings.Contains(out, "10.3.0.1/30") {
					t.Errorf("%s\n%s", text, out)
				}
			}
			contains(t, iproute(t, "link"), "b@c", "c@b")
			if bridges {
				contains(t, iproute(t, "link", "show", "type", "bridge"), "d: ")
			}
			if macvlans {
				contains(t, iproute(t, "link"), "m@b")
			}
		}
		w.parse(t, "network: {}")
		w.apply(t)
		if out := iproute(t, "link"); strings.Contains(out, "c@") || strings.Contains(out, "m@") {
			t.Errorf("left:\n%s", out)
		}
	})
}

// Errors say what was to be changed, and unwrap to the errno.
func TestErrors(t *testing.T) {
	tier.Tool(t, "ip", "iproute2")
	nstest.Run(t, func(t *testing.T) {
		iproute(t, "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
		iproute(t, "link", "set", "eth0", "up")
		iproute(t, "address", "add", "192.0.2.2/24", "dev", "eth0")
		iproute(t, "route", "add", "default", "via", "192.0.2.1")
		route := config.Route{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.9")}
		err := Kernel{}.Apply(plan.Change{Op: plan.AddRoute, Link: "eth0", Route: route})
		if want := "cannot add route default via 192.0.2.9 dev eth0: there is such a route of somebody else: file exists"; !errors.Is(err, unix.EEXIST) || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
		route.Via = netip.MustParseAddr("198.51.100.1")
		route.Metric = 5
		if err := (Kernel{}).Apply(plan.Change{Op: plan.AddRoute, Link: "eth0", Route: route}); !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("a gateway that cannot be reached: %v", err)
		}
		if err := (Kernel{}).Apply(plan.Change{Op: plan.Up, Link: "none0"}); err == nil || !strings.HasPrefix(err.Error(), "cannot bring up none0: ") {
			t.Errorf("a link that is not there: %v", err)
		}
		routes, err := Routes()
		if err != nil || !slices.ContainsFunc(routes, func(r plan.Route) bool { return r.Via.String() == "192.0.2.1" }) {
			t.Errorf("%+v, %v", routes, err)
		}
	})
}

// Each change wakes the watcher.
func TestWatch(t *testing.T) {
	tier.Tool(t, "ip", "iproute2")
	nstest.Run(t, func(t *testing.T) {
		w, err := Watch()
		if err != nil {
			t.Fatal(err)
		}
		changes := make(chan struct{}, 1000)
		ended := make(chan struct{})
		go func() {
			for w.Wait() {
				changes <- struct{}{}
			}
			close(ended)
		}()
		for _, args := range []string{
			"link add eth0 type veth peer name far0", "link set eth0 up", "address add 192.0.2.2/24 dev eth0", "route add 198.51.100.0/24 dev eth0", "rule add from 192.0.2.3 table 9", "link delete eth0",
		} {
			iproute(t, strings.Fields(args)...)
			<-changes
			for len(changes) > 0 {
				<-changes
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	})
}

// Keys in files, and peers that come and go.
func TestWireguard(t *testing.T) {
	tier.Tool(t, "ip", "iproute2")
	nstest.Run(t, func(t *testing.T) {
		if !supported(t, config.Wireguard) {
			return // TestNetwork of testvm/tests has it, with Debian's kernel.
		}
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		w := &world{own: plan.NewOwn()}
		w.parse(t, fmt.Sprintf("network: {tunnels: {wg0: {mode: wireguard, key: %s, port: 51820, addresses: [10.8.0.1/24], peers: [{keys: {public: %s}, allowed-ips: [10.8.0.2/32], endpoint: \"127.0.0.1:5\"}]}}}", file, key))
		w.apply(t)
		contains(t, iproute(t, "address", "show", "wg0"), "10.8.0.1/24")
		w.parse(t, fmt.Sprintf("network: {tunnels: {wg0: {mode: wireguard, key: %s, port: 51821}}}", file))
		if changes := w.apply(t); !slices.Contains(changes, "set parameters of wg0") {
			t.Errorf("%q", changes)
		}
	})
}

func TestDevicePath(t *testing.T) {
	buses := map[string]string{
		"virtio0": "virtio", "0000:00:03.0": "pci", "0000:00:1c.0": "pci", "0000:02:00.0": "pci", "0000:00:14.0": "pci", "usb1": "usb", "1-2": "usb", "1-2.3": "usb", "1-2.3:1.0": "usb",
		"soc": "platform", "fe300000.ethernet": "platform", "fd500000.pcie": "platform", "scb": "platform",
	}
	subsystem := func(dir string) string { return buses[filepath.Base(dir)] }
	for where, want := range map[string]string{
		"/sys/devices/pci0000:00/0000:00:03.0/virtio0":                                 "pci-0000:00:03.0",
		"/sys/devices/pci0000:00/0000:00:1c.0/0000:02:00.0":                            "pci-0000:02:00.0",
		"/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2.3/1-2.3:1.0":                "pci-0000:00:14.0-usb-0:2.3:1.0",
		"/sys/devices/platform/soc/fe300000.ethernet":                                  "platform-fe300000.ethernet",
		"/sys/devices/platform/scb/fd500000.pcie/pci0000:00/0000:00:1c.0/0000:02:00.0": "platform-fd500000.pcie-pci-0000:02:00.0",
		"/sys/devices/virtual/net/x":                                                   "",
	} {
		if got := devicePath(where, subsystem); got != want {
			t.Errorf("%s: %q, want %q", where, got, want)
		}
	}
}
