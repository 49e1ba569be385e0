package config

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

var key = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))

// all has a link of each kind.
//
//go:embed testdata/all.yml
var all string

func TestParse(t *testing.T) {
	c, err := Parse([]byte(all), "netcfg.yml")
	if err != nil {
		t.Fatal(err)
	}
	position := map[string]int{}
	for i, l := range c.Links {
		position[l.ID] = i
	}
	if len(c.Links) != 15 || len(c.Notes) != 1 {
		t.Errorf("%d links, notes %q", len(c.Links), c.Notes)
	}
	for before, after := range map[string]string{"lan": "mv0", "bond0": "slave1", "br0": "port1", "red": "vlan5"} {
		if position[before] > position[after] {
			t.Errorf("%s comes after %s", before, after)
		}
	}
	lan := c.Find("lan")
	if lan.SetName != "lan0" || len(lan.Addresses) != 3 || !lan.Addresses[2].Deprecated || lan.Addresses[2].Label != "lan0:1" || len(lan.Routes) != 4 ||
		lan.Routes[0].To != netip.MustParsePrefix("0.0.0.0/0") || len(lan.Rules) != 1 || len(lan.DNS) != 2 {
		t.Errorf("%+v", lan)
	}
	if d := c.Find("eth0").DHCP4; !d.Enabled || d.Metric != 50 || d.UseDNS || !d.UseRoutes {
		t.Errorf("%+v", d)
	}
	if r := c.Find("red").Routes[0]; r.Table != 1000 {
		t.Errorf("a route of a VRF: %+v", r)
	}
	w := c.Find("wg0").Wireguard
	if w.Peers[0].SharedFile != "/etc/wg/shared" || len(w.Peers[0].AllowedIPs) != 2 || w.Key.Bytes == nil {
		t.Errorf("%+v", w)
	}
	if text := fmt.Sprintf("%v %+v %#v %+v", w.Key, w.Key, w.Key, w); strings.Contains(text, "kkk") || strings.Contains(text, "107") {
		t.Errorf("the key is printed: %s", text)
	}
	if c.Find("port1").Port.Cost != 50 || c.Find("slave1").Master != "bond0" || c.Find("none") != nil {
		t.Error("members")
	}
}

func TestMatch(t *testing.T) {
	m := Match{Name: "en*", Drivers: []string{"e1000e", "virtio*"}}
	for c, want := range map[*Candidate]bool{
		{Name: "ens3", Driver: "virtio_net"}: true, {Name: "ens3", Driver: "ixgbe"}: false, {Name: "eth0", Driver: "e1000e"}: false,
	} {
		if got := m.Matches(*c); got != want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestParseErrors(t *testing.T) {
	eth := func(fields string) string { return "network:\n  ethernets:\n    eth0: {" + fields + "}\n" }
	for text, want := range map[string]string{
		"network: [":                          "f.yml:1: ",
		"network: 5":                          "f.yml:1: want fields with values",
		"net: {}":                             "f.yml:1: net: there is no such field",
		"network: {}\n---\nnetwork: {}":       "only one YAML document",
		"network:\n  version: 3":              "f.yml:2: version: want 2, not 3",
		"network:\n  renderer: x":             "f.yml:2: renderer: want networkd",
		"network:\n  ethernets:\n    e/0: {}": `f.yml:3: ethernets.e/0: "e/0" cannot be the name`,
		eth("dhcp: true"):                     "f.yml:3: ethernets.eth0.dhcp: there is no such field",
		"network:\n  ethernets:\n    a:\n      dhcp4: maybe\n": "f.yml:4: ethernets.a.dhcp4: want true or false, not maybe",
		eth("mtu: big"):                                                            "want a whole number, not big",
		eth("mtu: 10"):                                                             "ethernets.eth0.mtu: want 68 to 65535, not 10",
		eth("addresses: [10.0.0.1]"):                                               `"10.0.0.1" is no address with a prefix`,
		eth("addresses: [{10.0.0.1/8: {x: 1}}]"):                                   "addresses.0.10.0.0.1/8.x: there is no such field",
		eth("addresses: [{10.0.0.1/8: {lifetime: 5}}]"):                            `lifetime "5"`,
		eth("addresses: [0.0.0.0/0]"):                                              "cannot be the address of a link",
		eth("addresses: [10.0.0.1/8, 10.0.0.1/9]"):                                 "addresses.1: 10.0.0.1 is there already",
		eth("macaddress: 01:00:00:00:00:00"):                                       "cannot be the address of a link",
		eth("macaddress: x"):                                                       "is no hardware address",
		eth("gateway4: 10.0.0.1"):                                                  "want routes:",
		eth("set-name: a"):                                                         "it needs match",
		eth("match: {}"):                                                           "it matches each link",
		eth(`match: {name: "["}`):                                                  `"[" is no pattern`,
		eth("link-local: [ipv4]"):                                                  "link-local.0: want ipv6",
		eth("activation-mode: x"):                                                  "want manual or off",
		eth("dhcp-identifier: x"):                                                  "want mac or duid",
		eth("nameservers: {addresses: [x]}"):                                       `"x" is no address`,
		eth("nameservers: {search: [a..b]}"):                                       `"a..b" is no domain name`,
		eth("routes: [{via: 10.0.0.1}]"):                                           "routes.0: want to",
		eth("routes: [{to: 10.0.0.0/8}]"):                                          "want via",
		eth("routes: [{to: x, via: 10.0.0.1}]"):                                    `"x" is no network`,
		eth(`routes: [{to: 10.0.0.0/8, via: "fe80::1"}]`):                          "not all of IPv4",
		eth("routes: [{to: 10.0.0.0/8, type: x}]"):                                 "routes.0.type: want unicast",
		eth("routes: [{to: 10.0.0.0/8, type: throw, via: 10.0.0.1}]"):              "has no via",
		eth("routing-policy: [{from: 10.0.0.1}]"):                                  "want table",
		eth("routing-policy: [{table: 5}]"):                                        "want from or to",
		"network:\n  vlans:\n    v: {id: 5000, link: x}":                           "there is no link x in this file",
		"network:\n  vlans:\n    v: {link: v}":                                     "want id",
		"network:\n  bridges:\n    b: {interfaces: [b]}":                           "cannot be a member of itself",
		"network:\n  bridges:\n    b: {interfaces: [c]}\n    c: {interfaces: [b]}": "it depends on itself",
		"network:\n  ethernets: {e: {}}\n  bridges:\n    b: {interfaces: [e]}\n    c: {interfaces: [e]}": "e is a member of bridges.b.interfaces.0 too",
		"network:\n  ethernets: {e: {dhcp4: true}}\n  bonds:\n    b: {interfaces: [e]}":                  "a member of the bond b has no addresses",
		"network:\n  ethernets: {b: {}}\n  bridges:\n    b: {}":                                          "b is in ethernets too",
		"network:\n  bridges:\n    b: {parameters: {path-cost: {x: 5}}}":                                 "x is no member of b",
		"network:\n  bonds:\n    b: {parameters: {mode: x}}":                                             `want balance-rr`,
		"network:\n  bonds:\n    b: {parameters: {arp-interval: 1, mii-monitor-interval: 1}}":            "excludes it",
		"network:\n  virtual-ethernets:\n    a: {peer: b}\n    b: {peer: c}":                             `b has the peer "c"`,
		"network:\n  vrfs:\n    r: {}":                                                                   "want 1 to",
		"network:\n  tunnels:\n    t: {mode: gre}":                                                       `want wireguard, not "gre"`,
		"network:\n  tunnels:\n    t: {mode: wireguard, key: secret}":                                    "tunnels.t.key: want 32 bytes",
		"network:\n  macvlans:\n    m: {link: m, mode: x}":                                               "want private",
		"network:\n  ethernets:\n    a: {}\n    a: {}":                                                   "it is there already, in line 3",
	} {
		_, err := Parse([]byte(text), "f.yml")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n\tgot:  %v\n\twant: %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("a key is printed: %v", err)
		}
	}
	_, err := Parse([]byte("network:\n  ethernets:\n    a: {mtu: 1}\n    b: {mtu: 2}\n"), "f.yml")
	if want := "f.yml:3: ethernets.a.mtu: want 68 to 65535, not 1\nf.yml:4: ethernets.b.mtu: want 68 to 65535, not 2"; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	// Errors of the decoder and of checks come together, and none only follows from another one.
	for text, want := range map[string]string{
		"network:\n  ethernets:\n    a: {mtu: 1, dhcp: true}\n    b: {mtu: x}\n    c.5: {mtu: 2}\n  bridges:\n    d: {interfaces: [b, q]}\n": "f.yml:3: ethernets.a.dhcp: there is no such field\nf.yml:3: ethernets.a.mtu: want 68 to 65535, not 1\n" +
			"f.yml:4: ethernets.b.mtu: want a whole number, not x\nf.yml:5: ethernets.c.5.mtu: want 68 to 65535, not 2\nf.yml:7: bridges.d.interfaces.1: there is no link q in this file",
		"network:\n  ethernets: [a]\n  bridges:\n    c: {interfaces: [a]}\n":                                      "f.yml:2: ethernets.0: want fields with values",
		"network:\n  ethers: {a: {}}\n  bridges:\n    c: {interfaces: [a]}\n":                                     "f.yml:2: ethers: there is no such field",
		"network:\n  ethernets:\n    a: {addresses: [10.0.0.1/8, 10.0.0.1/99], mtu: 1500}\n":                      `f.yml:3: ethernets.a.addresses.1: "10.0.0.1/99" is no address with a prefix: want ADDRESS/LENGTH`,
		"network:\n  ethernets: {a: {}}\n  vlans:\n    v: {id: x, link: a}\n":                                     "f.yml:4: vlans.v.id: want a whole number, not x",
		"network:\n  virtual-ethernets:\n    v: {peer: [w]}\n    w: {peer: v}\n":                                  "f.yml:3: virtual-ethernets.v.peer.0: want a text",
		"network:\n  ethernets: {a: {}}\n  bonds:\n    b:\n      interfaces: a\n      parameters: {primary: a}\n": "f.yml:5: bonds.b.interfaces: want a list, not a",
	} {
		if _, err := Parse([]byte(text), "f.yml"); err == nil || err.Error() != want {
			t.Errorf("%s\tgot:  %v\n\twant: %s", text, err, want)
		}
	}
	if _, err := Parse([]byte(strings.Repeat(" ", Limit+1)), "f.yml"); err == nil {
		t.Error("a file of any size is read")
	}
	for _, empty := range []string{"", "network:\n", "network:\n  ethernets:\n", "# nothing\n"} {
		if c, err := Parse([]byte(empty), "f.yml"); err != nil || len(c.Links) != 0 {
			t.Errorf("%q: %+v, %v", empty, c, err)
		}
	}
}

func TestParseKey(t *testing.T) {
	if k, err := ParseKey(key + "\n"); err != nil || k.Bytes == nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "/etc/key", "abc"} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(all)
	f.Add("network: {ethernets: {a: &a {mtu: 5}, b: *a}}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse([]byte(text), "f.yml")
		if err != nil && len(c.Links) > 0 {
			t.Error("an error and links")
		}
		for _, l := range c.Links {
			if c.Find(l.ID) == nil {
				t.Errorf("%q is not found", l.ID)
			}
		}
	})
}
