package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keelson/netcfg/config"
)

func parse(t testing.TB, text string) config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text), "netcfg.yml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func texts(changes []Change) (all []string) {
	for _, c := range changes {
		all = append(all, c.String())
	}
	return all
}

func TestPlan(t *testing.T) {
	for name, x := range map[string]struct {
		file  string
		links []string
		state func(*model)
		own   func(Own)
		want  []string
	}{
		"nothing": {file: "network: {}", links: []string{"eth0"}},
		"an address and a gateway": {
			file: "network: {ethernets: {eth0: {addresses: [192.0.2.2/24], routes: [{to: default, via: 192.0.2.1}]}}}", links: []string{"eth0"},
			want: []string{"bring up eth0", "add address 192.0.2.2/24 to eth0", "add route default via 192.0.2.1 dev eth0"},
		},
		"a link that is not there": {file: "network: {ethernets: {eth7: {addresses: [192.0.2.2/24]}}}", links: []string{"eth0"}},
		"an address from ip= stays": {
			file: "network: {ethernets: {eth0: {addresses: [192.0.2.2/24]}}}", links: []string{"eth0"},
			state: func(m *model) {
				m.link("eth0").Up = true
				m.Addresses = append(m.Addresses, Address{Link: 2, Address: config.Address{Prefix: netip.MustParsePrefix("192.0.2.2/24")}}, Address{Link: 2, Address: config.Address{Prefix: netip.MustParsePrefix("198.51.100.1/24")}})
			},
		},
		"an own address goes": {
			file: "network: {}", links: []string{"eth0"},
			state: func(m *model) {
				m.Addresses = append(m.Addresses, Address{Link: 2, Address: config.Address{Prefix: netip.MustParsePrefix("192.0.2.2/24")}})
			},
			own:  func(o Own) { o.Addresses["eth0"] = []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")} },
			want: []string{"delete address 192.0.2.2/24 of eth0"},
		},
		"a new name": {
			file: "network: {ethernets: {lan: {match: {driver: virtio*}, set-name: lan0, mtu: 9000}}}", links: []string{"eth0"},
			state: func(m *model) { m.link("eth0").Up = true },
			want:  []string{"bring down eth0", "rename eth0 to lan0", "set mtu of lan0 to 9000", "bring up lan0"},
		},
		"a bond": {
			file: "network: {ethernets: {eth0: {}}, bonds: {bond0: {interfaces: [eth0], addresses: [192.0.2.2/24]}}}", links: []string{"eth0"},
			state: func(m *model) { m.link("eth0").Up = true },
			want:  []string{"add bond bond0", "bring up bond0", "bring down eth0", "add eth0 to bond0", "bring up eth0", "add address 192.0.2.2/24 to bond0"},
		},
		"a link of the name of another kind": {
			file: "network: {bridges: {br0: {}}}", links: []string{"br0"},
		},
		"down": {
			file: "network: {ethernets: {eth0: {activation-mode: off, addresses: [192.0.2.2/24], routes: [{to: default, via: 192.0.2.1}]}}}", links: []string{"eth0"},
			state: func(m *model) { m.link("eth0").Up = true },
			want:  []string{"bring down eth0"},
		},
		"a member of a bond that another entry matches too": {
			file: "network: {ethernets: {all: {match: {name: \"*\"}, mtu: 9000}, eth0: {}}, bonds: {bond0: {interfaces: [eth0]}}}", links: []string{"eth0", "eth1"},
			state: func(m *model) { m.link("eth1").Up = true },
			want:  []string{"set mtu of eth1 to 9000", "add bond bond0", "bring up bond0", "add eth0 to bond0", "bring up eth0"},
		},
		"the entry of a hardware address before that of a pattern": {
			file: "network: {ethernets: {all: {match: {name: \"e*\"}, mtu: 9000}, lan: {match: {macaddress: \"02:00:00:00:00:02\"}, set-name: lan0}}}", links: []string{"eth0"},
			want: []string{"rename eth0 to lan0", "bring up lan0"},
		},
		"another link has the new name": {
			file: "network: {ethernets: {lan: {match: {macaddress: \"02:00:00:00:00:09\"}, set-name: lan0, mtu: 9000}}}", links: []string{"lan0"},
		},
		"a new name and a new hardware address": {
			file: "network: {ethernets: {lan: {match: {macaddress: \"02:00:00:00:00:02\"}, set-name: lan0, macaddress: \"02:00:00:00:00:77\", addresses: [192.0.2.2/24]}}}", links: []string{"lan0"},
			state: func(m *model) { m.link("lan0").MAC, m.link("lan0").Up = net.HardwareAddr{2, 0, 0, 0, 0, 0x77}, true },
			want:  []string{"add address 192.0.2.2/24 to lan0"},
		},
		"a VLAN whose link is not there": {file: "network: {ethernets: {eth7: {}}, vlans: {v: {id: 5, link: eth7}}}"},
	} {
		t.Run(name, func(t *testing.T) {
			m, own := machine(x.links...), NewOwn()
			if x.state != nil {
				x.state(m)
			}
			if x.own != nil {
				x.own(own)
			}
			p := Plan(parse(t, x.file), m.State, own)
			if got := texts(p.Changes); !slices.Equal(got, x.want) {
				t.Errorf("got  %q\nwant %q", got, x.want)
			}
			if err := m.converge(parse(t, x.file), own); err != nil {
				t.Error(err)
			}
		})
	}
}

// A link of the command line is that of the file, if the file has it, and a VLAN is made from it.
func TestFallback(t *testing.T) {
	want := parse(t, `network: {ethernets: {lan: {match: {macaddress: "02:00:00:00:00:02"}, mtu: 1400}}}`)
	want.Links = append(want.Links,
		config.Link{ID: "eth0", Match: config.Match{Name: "eth0"}, Fallback: true, MTU: 1300},
		config.Link{ID: "vlan5", Kind: config.VLAN, VLANID: 5, Parent: "eth0"},
		config.Link{ID: "ip=", Match: config.Match{Name: "*"}, Fallback: true, MTU: 1200},
	)
	for names, changes := range map[string][]string{
		"eth0":      {"set mtu of eth0 to 1400", "bring up eth0", "add vlan vlan5 with id 5 to eth0", "bring up vlan5"},
		"eth0 eth1": {"set mtu of eth0 to 1400", "bring up eth0", "add vlan vlan5 with id 5 to eth0", "bring up vlan5", "set mtu of eth1 to 1200", "bring up eth1"},
	} {
		m := machine(strings.Fields(names)...)
		p := Plan(want, m.State, NewOwn())
		if got := texts(p.Changes); !slices.Equal(got, changes) || len(p.Missing) > 0 {
			t.Errorf("%s: got %q, %q\nwant %q", names, got, p.Missing, changes)
		}
		if err := m.converge(want, NewOwn()); err != nil {
			t.Error(err)
		}
	}
	if p := Plan(want, machine().State, NewOwn()); len(p.Changes) > 0 || !slices.Equal(p.Missing, []string{"lan", "eth0", "ip=", "vlan5"}) {
		t.Errorf("without devices: %q, %q", texts(p.Changes), p.Missing)
	}
}

// Every configuration leads to a state in which nothing is left to do, also from that of another
// one, and no configuration leaves nothing of its own.
func TestConverges(t *testing.T) {
	all := everything(t)
	for _, before := range []string{"network: {}", all, "network: {bridges: {eth1: {}}, dummy-devices: {br0: {}, vlan5: {}}}", strings.ReplaceAll(all, "id: 5", "id: 6")} {
		for _, after := range []string{all, "network: {}"} {
			m, own := machine("eth0", "ens3", "port1", "port2", "slave1"), NewOwn()
			if err := m.converge(parse(t, before), own); err != nil {
				t.Fatal(err)
			}
			if err := m.converge(parse(t, after), own); err != nil {
				t.Fatal(err)
			}
			if after == "network: {}" && (len(m.Links) != 6 || len(m.Addresses)+len(m.Routes)+len(m.Rules) != 0 || len(own.Links)+len(own.Addresses)+len(own.Ports) != 0) {
				t.Errorf("left: %+v, %+v", m.State, own)
			}
		}
	}
}

// everything is the example of the documentation, with a link of each kind.
func everything(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "config", "testdata", "all.yml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// No plan panics, and each leads somewhere where nothing is left to do, also from what another
// configuration has made. Without a configuration, nothing of its own is left.
func FuzzConverges(f *testing.F) {
	f.Add(everything(f), "network: {bridges: {eth1: {}}, dummy-devices: {br0: {}, vlan5: {}}}")
	f.Add("network: {ethernets: {a: {match: {name: \"*\"}, addresses: [10.0.0.1/8], routes: [{to: 10.0.0.0/8, scope: link}]}}, bridges: {b: {interfaces: [a]}}}", everything(f))
	f.Add("network: {vlans: {v: {id: 5, link: b}}, bonds: {b: {}}}", "network: {vlans: {v: {id: 5, link: b}}, bonds: {b: {parameters: {mode: active-backup}}}}")
	f.Fuzz(func(t *testing.T, before, after string) {
		first, err := config.Parse([]byte(before), "f.yml")
		if err != nil {
			return
		}
		second, err := config.Parse([]byte(after), "f.yml")
		if err != nil {
			return
		}
		m, own := machine("eth0", "ens3", "port1"), NewOwn()
		for _, c := range []config.Config{first, second, first, {}} {
			if err := m.converge(c, own); err != nil {
				t.Fatal(err)
			}
		}
		if len(m.Links) != 4 || len(m.Addresses)+len(m.Routes)+len(m.Rules) != 0 || len(own.Links)+len(own.Addresses)+len(own.Ports) != 0 {
			t.Errorf("left: %+v, %+v", m.State, own)
		}
	})
}

// draw returns a configuration with links that are chosen and connected by chance. Some are refused
// by the parser.
func draw(r *rand.Rand) string {
	names := []string{"eth0", "ens3", "port1", "a", "b", "c", "d"}
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	device := func() string {
		var fields []string
		for _, field := range []string{
			fmt.Sprintf("addresses: [192.0.2.%d/24]", r.IntN(3)+1), fmt.Sprintf("mtu: %d", 1400+r.IntN(3)), "activation-mode: " + one("off", "manual"), fmt.Sprintf("macaddress: \"02:00:00:00:01:%02x\"", r.IntN(3)),
			fmt.Sprintf("routes: [{to: 198.51.100.0/24, via: 192.0.2.%d}, {to: 203.0.113.0/24, scope: link}, {to: \"2001:db8::/32\", type: blackhole}]", r.IntN(3)+9), "accept-ra: " + one("true", "false"), "link-local: " + one("[]", "[ipv6]"),
			fmt.Sprintf("routing-policy: [{from: 192.0.2.%d, table: %d}]", r.IntN(3), r.IntN(3)+5),
		} {
			if r.IntN(4) == 0 {
				fields = append(fields, field)
			}
		}
		return strings.Join(fields, ", ")
	}
	sections := map[string][]string{}
	add := func(section, name, own string) {
		fields := slices.DeleteFunc([]string{own, device()}, func(s string) bool { return s == "" })
		sections[section] = append(sections[section], fmt.Sprintf("%s: {%s}", name, strings.Join(fields, ", ")))
	}
	for _, name := range names[:3] {
		switch r.IntN(4) {
		case 0:
			add("ethernets", name, "")
		case 1:
			add("ethernets", name, fmt.Sprintf("match: {name: %q}", one("*", "e*", name)))
		case 2:
			add("ethernets", name, fmt.Sprintf("match: {macaddress: \"02:00:00:00:00:%02x\"}, set-name: %s", r.IntN(4)+2, one("x", "y", "port1")))
		}
	}
	for i, name := range names[3:] {
		other := one(names...)
		members := one("eth0", "ens3", "eth0, port1", "a", "b", "")
		switch r.IntN(9) {
		case 0:
			add("dummy-devices", name, "")
		case 1:
			add("vlans", name, fmt.Sprintf("id: %d, link: %s", r.IntN(3), other))
		case 2:
			add("bonds", name, fmt.Sprintf("interfaces: [%s], parameters: {mode: %s}", members, one("active-backup", "balance-rr")))
		case 3:
			add("bridges", name, fmt.Sprintf("interfaces: [%s], parameters: {priority: %d}", members, r.IntN(2)))
		case 4:
			add("vrfs", name, fmt.Sprintf("interfaces: [%s], table: %d", members, r.IntN(2)+100))
		case 5:
			add("macvlans", name, fmt.Sprintf("link: %s, mode: %s", other, one("bridge", "vepa")))
		case 6:
			if peer := i + 4; peer < len(names) {
				add("virtual-ethernets", name, "peer: "+names[peer])
				add("virtual-ethernets", names[peer], "peer: "+name)
			}
		}
	}
	text := "network:\n  version: 2\n"
	for _, section := range slices.Sorted(maps.Keys(sections)) {
		text += "  " + section + ":\n    " + strings.Join(sections[section], "\n    ") + "\n"
	}
	return text
}

// Configurations that are drawn by chance converge, one after the other.
func FuzzDrawn(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed)
	}
	for _, seed := range []uint64{132, 151, 179} { // A veth with another peer; members of a bond that nobody brings up.
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		m, own := machine("eth0", "ens3", "port1"), NewOwn()
		var texts []string
		for len(texts) < 3 {
			text := draw(r)
			c, err := config.Parse([]byte(text), "f.yml")
			if err != nil {
				continue
			}
			texts = append(texts, text)
			if err := m.converge(c, own); err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(texts, "then\n"))
			}
		}
		if err := m.converge(config.Config{}, own); err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(texts, "then\n"))
		}
		if len(m.Links) != 4 || len(m.Addresses)+len(m.Routes)+len(m.Rules) != 0 || len(own.Links)+len(own.Addresses)+len(own.Ports) != 0 {
			t.Errorf("left: %+v, %+v\n%s", m.State, own, strings.Join(texts, "then\n"))
		}
	})
}
