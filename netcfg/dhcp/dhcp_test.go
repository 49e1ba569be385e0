package dhcp

import (
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/mdlayher/arp"

	"keelson/netcfg/lease"
)

var mac = net.HardwareAddr{2, 0, 0, 0, 0, 1}

// ack returns an ACK with options, which may replace those that it has.
func ack(t testing.TB, options ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(dhcpv4.MessageTypeAck), dhcpv4.WithHwAddr(mac), dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 7)), dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 0, 2, 1))), dhcpv4.WithLeaseTime(3600),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLeaseOf(t *testing.T) {
	const now = time.Minute
	generic := dhcpv4.WithGeneric
	for name, x := range map[string]struct {
		options []dhcpv4.Modifier
		check   func(lease.Lease) bool
		err     string
	}{
		"plain": {check: func(l lease.Lease) bool {
			return l.Address.String() == "192.0.2.7/24" && l.Renew == now+30*time.Minute && l.Rebind == now+3150*time.Second && l.Expires == now+time.Hour
		}},
		"T1 and T2":          {options: []dhcpv4.Modifier{generic(dhcpv4.OptionRenewTimeValue, []byte{0, 0, 0, 60}), generic(dhcpv4.OptionRebindingTimeValue, []byte{0, 0, 0, 90})}, check: func(l lease.Lease) bool { return l.Renew == now+time.Minute && l.Rebind == now+90*time.Second }},
		"T1 after T2":        {options: []dhcpv4.Modifier{generic(dhcpv4.OptionRenewTimeValue, []byte{0, 0, 255, 0}), generic(dhcpv4.OptionRebindingTimeValue, []byte{0, 0, 0, 90})}, check: func(l lease.Lease) bool { return l.Renew <= l.Rebind && l.Rebind == now+90*time.Second }},
		"forever":            {options: []dhcpv4.Modifier{dhcpv4.WithLeaseTime(infinite)}, check: func(l lease.Lease) bool { return l.Expires == lease.Forever && l.Left(now) == lease.Forever }},
		"a short time":       {options: []dhcpv4.Modifier{dhcpv4.WithLeaseTime(1)}, err: "at least 4s"},
		"no time":            {options: []dhcpv4.Modifier{dhcpv4.WithoutOption(dhcpv4.OptionIPAddressLeaseTime)}, err: "no lease time"},
		"no server":          {options: []dhcpv4.Modifier{dhcpv4.WithoutOption(dhcpv4.OptionServerIdentifier)}, err: "which server"},
		"no address":         {options: []dhcpv4.Modifier{dhcpv4.WithYourIP(net.IPv4zero)}, err: "no address"},
		"a multicast":        {options: []dhcpv4.Modifier{dhcpv4.WithYourIP(net.IPv4(224, 0, 0, 1))}, err: "no address"},
		"no mask":            {options: []dhcpv4.Modifier{dhcpv4.WithoutOption(dhcpv4.OptionSubnetMask)}, check: func(l lease.Lease) bool { return l.Address.Bits() == 24 }},
		"a mask with a hole": {options: []dhcpv4.Modifier{dhcpv4.WithNetmask(net.IPv4Mask(255, 0, 255, 0))}, err: "no mask"},
		"names":              {options: []dhcpv4.Modifier{generic(dhcpv4.OptionDomainName, []byte("example.org.\x00")), generic(dhcpv4.OptionHostName, []byte("a\nb"))}, check: func(l lease.Lease) bool { return l.Domain == "example.org" && l.Hostname == "" }},
		"a small MTU":        {options: []dhcpv4.Modifier{generic(dhcpv4.OptionInterfaceMTU, []byte{0, 68})}, check: func(l lease.Lease) bool { return l.MTU == 0 }},
		"routers": {options: []dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptRouter(net.IPv4(192, 0, 2, 1), net.IPv4(192, 0, 2, 2)))}, check: func(l lease.Lease) bool {
			return len(l.Routes) == 1 && l.Routes[0].Via.String() == "192.0.2.1" && len(l.Routers) == 2
		}},
		"static routes": {options: []dhcpv4.Modifier{generic(dhcpv4.OptionStaticRoutingTable, []byte{10, 0, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7, 192, 0, 2, 1, 0, 0, 0, 0, 192, 0, 2, 1, 9})}, check: func(l lease.Lease) bool {
			return len(l.Routes) == 2 && l.Routes[0].To.String() == "10.0.0.0/8" && l.Routes[1].To.String() == "198.51.100.7/32"
		}},
		"classless routes": {options: []dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptRouter(net.IPv4(192, 0, 2, 9))), generic(dhcpv4.OptionClasslessStaticRoute, []byte{24, 203, 0, 113, 192, 0, 2, 1, 8, 10, 0, 0, 0, 0})}, check: func(l lease.Lease) bool {
			return len(l.Routes) == 2 && l.Routes[0].To.String() == "203.0.113.0/24" && !l.Routes[1].Via.IsValid()
		}},
	} {
		l, err := leaseOf("eth0", ack(t, x.options...), now)
		switch {
		case x.err != "" && (err == nil || !strings.Contains(err.Error(), x.err)):
			t.Errorf("%s: %v", name, err)
		case x.err == "" && (err != nil || !x.check(l)):
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
}

// Each state leads on, and each is reached.
func TestTable(t *testing.T) {
	for _, x := range []struct {
		table map[State]map[Event]State
		first []State
	}{{Table, []State{Rebooting, Selecting}}, {Table6, []State{Confirming, Rebooting, Soliciting, Informing}}} {
		reached := map[State]bool{}
		for _, s := range x.first {
			reached[s] = true
		}
		for s, events := range x.table {
			if len(events) == 0 {
				t.Errorf("nothing follows %s", s)
			}
			for e, next := range events {
				if _, ok := x.table[next]; !ok {
					t.Errorf("%s after %s in %s is no state", next, e, s)
				}
				reached[next] = true
			}
		}
		if len(reached) != len(x.table) {
			t.Errorf("%d of %d states are reached", len(reached), len(x.table))
		}
	}
}

// docs/network.md shows the same tables.
func TestTablesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/network.md")
	if err != nil {
		t.Fatal(err)
	}
	four, six, _ := strings.Cut(string(text), "### IPv6")
	for part, table := range map[string]map[State]map[Event]State{four: Table, six: Table6} {
		documented := map[State]map[Event]State{}
		for line := range strings.Lines(part) {
			columns := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			state, _, ok := strings.Cut(strings.TrimSpace(columns[0]), ":")
			if _, known := table[State(state)]; !ok || !known || len(columns) != 3 {
				continue
			}
			events, next := strings.Split(columns[1], ";"), strings.Split(columns[2], ";")
			documented[State(state)] = map[Event]State{}
			for i := range min(len(events), len(next)) {
				documented[State(state)][Event(strings.TrimSpace(events[i]))] = State(strings.TrimSpace(next[i]))
			}
		}
		if !reflect.DeepEqual(documented, table) {
			t.Errorf("the document has %v\nthe program %v", documented, table)
		}
	}
}

func TestRenewPause(t *testing.T) {
	for _, x := range [][3]time.Duration{
		{time.Hour, 2 * time.Hour, 30 * time.Minute}, {90 * time.Second, time.Hour, time.Minute}, {30 * time.Second, time.Hour, 30 * time.Second}, {3 * time.Second, 8 * time.Second, 1500 * time.Millisecond}, {time.Second, 8 * time.Second, time.Second},
	} {
		if got := renewPause(x[0], x[1]); got != x[2] {
			t.Errorf("%s left of %s: %s, want %s", x[0], x[1], got, x[2])
		}
	}
	for i := range 20 {
		if d := timeout(i); d < 3*time.Second || d > 65*time.Second {
			t.Errorf("attempt %d: %s", i, d)
		}
	}
}

func TestOwner(t *testing.T) {
	other, a := net.HardwareAddr{2, 0, 0, 0, 0, 9}, netip.MustParseAddr("192.0.2.7")
	text := func(op arp.Operation, from net.HardwareAddr, sender, target string) []byte {
		p, err := arp.NewPacket(op, from, netip.MustParseAddr(sender), mac, netip.MustParseAddr(target))
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, x := range map[string]struct {
		packet []byte
		want   bool
	}{
		"an answer":         {text(arp.OperationReply, other, "192.0.2.7", "0.0.0.0"), true},
		"a probe":           {text(arp.OperationRequest, other, "0.0.0.0", "192.0.2.7"), true},
		"the own probe":     {text(arp.OperationRequest, mac, "0.0.0.0", "192.0.2.7"), false},
		"another address":   {text(arp.OperationReply, other, "192.0.2.8", "0.0.0.0"), false},
		"somebody asks":     {text(arp.OperationRequest, other, "192.0.2.8", "192.0.2.7"), false},
		"what is no packet": {[]byte{1, 2, 3}, false},
	} {
		if got := owner(x.packet, mac, a); (got != nil) != x.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestIdentity(t *testing.T) {
	m, err := identity{mac: mac, id: identifier(mac), hostname: "box"}.message(dhcpv4.MessageTypeDiscover)
	if err != nil {
		t.Fatal(err)
	}
	if id := m.Options.Get(dhcpv4.OptionClientIdentifier); string(id) != string([]byte{255, 0, 0, 0, 1, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1}) {
		t.Errorf("% x", id)
	}
	if m.HostName() != "box" || len(m.ParameterRequestList()) != len(requested) {
		t.Error(m.Summary())
	}
	c := client4{client: client{link: &net.Interface{HardwareAddr: mac}}, options: lease.Options{Identifier: "mac", ClientID: "01626f78"}}
	if id := c.identity().id; string(id) != "\x01box" {
		t.Errorf("% x", id)
	}
	if _, err := Standalone(nil); err == nil {
		t.Error("no link")
	}
	if _, err := Standalone([]string{"a-name-that-is-too-long"}); err == nil {
		t.Error("a long name")
	}
}

// No message of a server makes a lease that cannot be, and none makes the client panic.
func FuzzLeaseOf(f *testing.F) {
	f.Add(ack(f).ToBytes())
	f.Add(ack(f, dhcpv4.WithGeneric(dhcpv4.OptionClasslessStaticRoute, []byte{24, 203, 0, 113, 192, 0, 2, 1}), dhcpv4.WithGeneric(dhcpv4.OptionDNSDomainSearchList, []byte{1, 'a', 0, 0xc0, 0})).ToBytes())
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := dhcpv4.FromBytes(text)
		if err != nil {
			return
		}
		answers(netip.Addr{})(m)
		l, err := leaseOf("eth0", m, time.Minute)
		if err != nil {
			return
		}
		if !l.Address.IsValid() || l.Renew > l.Rebind || l.Rebind > l.Expires || len(l.Routes) > routeLimit || strings.ContainsAny(l.Domain+l.Hostname+strings.Join(l.Search, ""), "\n \x00") {
			t.Errorf("%+v", l)
		}
		for _, r := range l.Routes {
			if !r.To.IsValid() {
				t.Errorf("%+v", r)
			}
		}
	})
}

func FuzzOwner(f *testing.F) {
	f.Add([]byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 7})
	f.Fuzz(func(t *testing.T, text []byte) { owner(text, mac, netip.MustParseAddr("192.0.2.7")) })
}
