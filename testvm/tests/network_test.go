package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// netcfg has a link of each kind that Debian's kernel has, beside one with DHCP.
const netcfg = `
        version: 2
        ethernets:
          eth0: {dhcp4: true}
        dummy-devices:
          dummy0: {addresses: [10.9.9.9/32, "2001:db8:9::1/64"]}
          dummy1: {}
        virtual-ethernets:
          veth0: {peer: veth1}
          veth1: {peer: veth0}
        bonds:
          bond0: {interfaces: [veth1], parameters: {mode: active-backup, mii-monitor-interval: 100}}
        bridges:
          br0: {interfaces: [veth0], parameters: {stp: false, path-cost: {veth0: 50}}, addresses: [10.1.0.1/16]}
        vlans:
          vlan5: {id: 5, link: bond0}
        vrfs:
          red: {table: 1000, interfaces: [vlan5]}
        macvlans:
          mv0: {link: dummy0, mode: bridge, addresses: [10.3.0.1/24]}
        ipvlans:
          iv0: {link: dummy1, mode: l3, addresses: [10.4.0.1/24]}
        tunnels:
          wg0: {mode: wireguard, key: a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=, port: 51820, addresses: [10.8.0.1/24],
            peers: [{keys: {public: cHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHA=}, allowed-ips: [10.8.0.2/32], endpoint: "192.0.2.1:51820"}]}
`

// parameters are links of the kernel's command line beside those of the file. The bond gets its address
// when it is there.
const parameters = "vlan=eth0.7:eth0 bond=bond1::mode=1,miimon=100:1400 ip=10.7.0.1:::24::bond1:none"

// networkSections returns the services of examples/network.yml, with another configuration, and one
// that waits for a name server.
func networkSections(t *testing.T) string {
	t.Helper()
	repository := vmtest.Repository(t)
	text, err := os.ReadFile(filepath.Join(repository, "examples/network.yml"))
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.ReplaceAll(string(text), "dir:../build/${ARCH}/", "dir:"+filepath.Join(repository, "build", qemu.AMD64)+"/")
	before, _, ok := strings.Cut(sections, "\n        version: 2\n")
	if !ok {
		t.Fatal("examples/network.yml has another form")
	}
	sections = before + netcfg
	return strings.Replace(sections, "services:\n", `services:
  AGENT
  - name: waits
    image: dir:PAYLOAD
    command: ["/testapp", "serve", ":8080", "hello"]
    net: host
    readonly: true
    annotations: {keelson.after: "net:online, dns, network"}
`, 1)
}

// A machine finds its network by the file and by DHCP, of which QEMU has a server, and shows it.
func TestNetwork(t *testing.T) {
	t.Parallel()
	const modules = "default, 8021q, bonding, bridge, dummy, ipvlan, macvlan, veth, vrf, wireguard"
	c := machine(t, buildFor(t, target{arch: qemu.AMD64, compression: image.None, modules: modules, cmdline: "console=ttyS0 " + parameters}, "network", networkSections(t)))
	v := vmtest.Boot(t, c)
	v.Stage(timeline.Ready)
	until(t, func() string {
		if out := v.Output("/usr/bin/service", "list"); !strings.Contains(out, "waits") || strings.Count(out, "running") < 4 {
			return out
		}
		return ""
	})
	out := v.Output("/usr/bin/service", "net")
	for _, want := range []string{"10.0.2.15/24", "DHCPv4 10.0.2.2", "default via 10.0.2.2 dev eth0 src 10.0.2.15 metric 100", "name servers: 10.0.2.3", "10.9.9.9/32", "2001:db8:9::1/64", "10.1.0.1/16", "10.3.0.1/24", "10.4.0.1/24", "ipvlan", "10.8.0.1/24", "wireguard", "10.7.0.1/24", "eth0.7"} {
		if !strings.Contains(out, want) {
			t.Errorf("service net has no %q:\n%s", want, out)
		}
	}
	var n struct {
		Links   []struct{ Name, Kind, Master, Path, Driver string }
		Service struct{ Failed, Missing, Problems, Errors []string }
	}
	if err := json.Unmarshal([]byte(v.Output("/usr/bin/service", "net", "--json")), &n); err != nil {
		t.Fatal(err)
	}
	if s := n.Service; len(s.Failed)+len(s.Missing)+len(s.Problems)+len(s.Errors) > 0 {
		t.Errorf("%+v", s)
	}
	masters := map[string]string{}
	for _, l := range n.Links {
		masters[l.Name] = l.Master
		if l.Name == "eth0" && (l.Driver != "virtio_net" || !strings.HasPrefix(l.Path, "pci-0000:")) {
			t.Errorf("%+v", l)
		}
	}
	for member, master := range map[string]string{"veth1": "bond0", "veth0": "br0", "vlan5": "red"} {
		if masters[member] != master {
			t.Errorf("%s is a member of %q", member, masters[member])
		}
	}
	if out := v.Output("/usr/bin/service", "net", "--plan"); out != "nothing to change\n" {
		t.Errorf("a plan: %s", out)
	}
	if out := v.Output("/usr/bin/service", "events", "network"); !strings.Contains(out, "eth0 has a lease of DHCPv4 from 10.0.2.2") || !strings.Contains(out, "name servers: 10.0.2.3") {
		t.Errorf("events:\n%s", out)
	}
	// The end of the services changes nothing, and the lease is asked for again.
	v.Output("/usr/bin/service", "restart", "network", "dhcp")
	until(t, func() string {
		if out := v.Output("/usr/bin/service", "logs", "dhcp"); strings.Count(out, "the link has a lease") != 1 {
			return out
		}
		if out := v.Output("/usr/bin/service", "net"); !strings.Contains(out, "DHCPv4 10.0.2.2") {
			return out
		}
		return ""
	})
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}
