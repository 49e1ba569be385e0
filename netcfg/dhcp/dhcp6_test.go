package dhcp

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"keelson/netcfg/lease"
	"keelson/runtime/timeline"
)

// reply returns a reply with an address and a prefix, changed by f.
func reply(t testing.TB, f func(*dhcpv6.Message, *dhcpv6.OptIANA, *dhcpv6.OptIAPD)) *dhcpv6.Message {
	t.Helper()
	m, err := dhcpv6.NewMessage()
	if err != nil {
		t.Fatal(err)
	}
	m.MessageType = dhcpv6.MessageTypeReply
	m.AddOption(dhcpv6.OptServerID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}))
	na := &dhcpv6.OptIANA{IaId: [4]byte{0, 0, 0, 1}, T1: 100 * time.Second, T2: 200 * time.Second}
	na.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP("2001:db8::7"), PreferredLifetime: 300 * time.Second, ValidLifetime: 400 * time.Second})
	pd := &dhcpv6.OptIAPD{IaId: [4]byte{0, 0, 0, 1}}
	_, prefix, _ := net.ParseCIDR("2001:db8:1::/56")
	pd.Options.Add(&dhcpv6.OptIAPrefix{Prefix: prefix, PreferredLifetime: 300 * time.Second, ValidLifetime: 400 * time.Second})
	f(m, na, pd)
	m.AddOption(na)
	m.AddOption(pd)
	return m
}

func TestLeaseOf6(t *testing.T) {
	const now = time.Minute
	who := newIdentity6(mac, true, true)
	for name, x := range map[string]struct {
		change func(*dhcpv6.Message, *dhcpv6.OptIANA, *dhcpv6.OptIAPD)
		check  func(lease.Lease) bool
		err    string
	}{
		"plain": {change: func(*dhcpv6.Message, *dhcpv6.OptIANA, *dhcpv6.OptIAPD) {}, check: func(l lease.Lease) bool {
			return l.Address.String() == "2001:db8::7/128" && len(l.Prefixes) == 1 && l.Renew == now+100*time.Second && l.Rebind == now+200*time.Second && l.Expires == now+400*time.Second && l.Preferred == now+300*time.Second
		}},
		"times of ours": {change: func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, _ *dhcpv6.OptIAPD) { na.T1, na.T2 = 0, 0 }, check: func(l lease.Lease) bool { return l.Renew == now+150*time.Second && l.Rebind == now+240*time.Second }},
		"T1 after T2": {change: func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, pd *dhcpv6.OptIAPD) {
			na.T1, pd.IaId[0] = 201*time.Second, 9
		}, err: "neither"},
		"more preferred than valid": {change: func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, pd *dhcpv6.OptIAPD) {
			na.Options.OneAddress().PreferredLifetime, pd.IaId[0] = 401*time.Second, 9
		}, err: "neither"},
		"deprecated": {change: func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, _ *dhcpv6.OptIAPD) {
			na.Options.OneAddress().PreferredLifetime = 0
		}, check: func(l lease.Lease) bool {
			return l.Preferred == now && preferred(l, now) == 0 && preferred(lease.Lease{Expires: now + 5*time.Second}, now) == 5
		}},
		"a status of its own": {change: func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, _ *dhcpv6.OptIAPD) {
			na.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail})
		}, check: func(l lease.Lease) bool { return !l.Address.IsValid() && len(l.Prefixes) == 1 }},
		"T1 after the end": {change: func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, _ *dhcpv6.OptIAPD) { na.T1, na.T2 = time.Hour, 0 }, check: func(l lease.Lease) bool { return l.Renew <= l.Rebind && l.Rebind <= l.Expires }},
		"another IAID":     {change: func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, pd *dhcpv6.OptIAPD) { na.IaId[0], pd.IaId[0] = 9, 9 }, err: "neither an address nor a prefix"},
		"no addresses": {change: func(m *dhcpv6.Message, _ *dhcpv6.OptIANA, _ *dhcpv6.OptIAPD) {
			m.AddOption(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail})
		}, err: "NoAddrsAvail"},
		"link-local": {change: func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, pd *dhcpv6.OptIAPD) {
			na.Options.OneAddress().IPv6Addr = net.ParseIP("fe80::1")
			pd.IaId[0] = 9
		}, err: "neither"},
		"forever": {change: func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, pd *dhcpv6.OptIAPD) {
			a := na.Options.OneAddress()
			a.PreferredLifetime, a.ValidLifetime = infinite6, infinite6
			pd.IaId[0] = 9
		}, check: func(l lease.Lease) bool { return l.Expires == lease.Forever }},
		"a short time": {change: func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, pd *dhcpv6.OptIAPD) {
			a := na.Options.OneAddress()
			a.PreferredLifetime, a.ValidLifetime = time.Second, time.Second
			pd.IaId[0] = 9
		}, err: "neither"},
	} {
		l, err := leaseOf6("eth0", who, reply(t, x.change), now)
		switch {
		case x.err != "" && (err == nil || !strings.Contains(err.Error(), x.err)):
			t.Errorf("%s: %v", name, err)
		case x.err == "" && (err != nil || !x.check(l)):
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
}

// What a server refuses for the moment ends no lease in use, and servers on the link have its name.
func TestEnded(t *testing.T) {
	had := lease.Lease{Address: netip.MustParsePrefix("2001:db8::7/128"), Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/56")}}
	for code, want := range map[iana.StatusCode][2]bool{
		iana.StatusNoBinding: {false, true}, iana.StatusNotOnLink: {true, false}, iana.StatusUnspecFail: {}, iana.StatusNoAddrsAvail: {}, iana.StatusNoPrefixAvail: {}, iana.StatusSuccess: {},
	} {
		for _, where := range []string{"message", "address", "prefix"} {
			m := reply(t, func(m *dhcpv6.Message, na *dhcpv6.OptIANA, pd *dhcpv6.OptIAPD) {
				map[string]interface{ Add(dhcpv6.Option) }{"message": &m.Options, "address": &na.Options, "prefix": &pd.Options}[where].Add(&dhcpv6.OptStatusCode{StatusCode: code})
			})
			if got := [2]bool{ended(m, had), notBound(m)}; got != want {
				t.Errorf("%s (in the %s): ended, not bound: %v", code, where, got)
			}
		}
	}
	for name, x := range map[string]struct {
		change func(*dhcpv6.Message, *dhcpv6.OptIANA, *dhcpv6.OptIAPD)
		want   bool
	}{
		"an address without time": {func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, _ *dhcpv6.OptIAPD) {
			na.Options.OneAddress().ValidLifetime = 0
		}, true},
		"another address without time": {func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, _ *dhcpv6.OptIAPD) {
			na.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP("2001:db8::8")})
		}, false},
		"a prefix without time": {func(_ *dhcpv6.Message, _ *dhcpv6.OptIANA, pd *dhcpv6.OptIAPD) {
			pd.Options.Prefixes()[0].ValidLifetime = 0
		}, true},
		"another prefix instead": {func(_ *dhcpv6.Message, _ *dhcpv6.OptIANA, pd *dhcpv6.OptIAPD) {
			pd.Options.Prefixes()[0].ValidLifetime = 0
			_, p, _ := net.ParseCIDR("2001:db8:2::/56")
			pd.Options.Add(&dhcpv6.OptIAPrefix{Prefix: p, PreferredLifetime: time.Hour, ValidLifetime: time.Hour})
		}, false},
	} {
		if got := ended(reply(t, x.change), had); got != x.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if list := servers6("eth0", []net.IP{net.ParseIP("fe80::1"), net.ParseIP("2001:db8::1")}); len(list) != 2 || list[0].String() != "fe80::1%eth0" || list[1].String() != "2001:db8::1" {
		t.Errorf("%v", list)
	}
}

// T1 and T2 of a server, or those of RFC 8415 section 14.2. 0 is that the client chooses.
func TestTimes6(t *testing.T) {
	const s = time.Second
	for _, x := range []struct {
		in     times6
		t1, t2 time.Duration
	}{
		{times6{100 * s, 200 * s, 300 * s, 400 * s}, 100 * s, 200 * s},
		{times6{0, 0, 300 * s, 400 * s}, 150 * s, 240 * s},
		{times6{0, 200 * s, 300 * s, 400 * s}, 150 * s, 200 * s},
		{times6{100 * s, 0, 300 * s, 400 * s}, 100 * s, 240 * s},
		{times6{0, 0, 0, 400 * s}, 200 * s, 320 * s},                               // Deprecated.
		{times6{infinite6, infinite6, 300 * s, 400 * s}, 400 * s, 400 * s},         // Is not extended.
		{times6{infinite6, 200 * s, 300 * s, 400 * s}, 200 * s, 200 * s},           // Is rebound only.
		{times6{100 * s, infinite6, 300 * s, 400 * s}, 100 * s, 400 * s},           // Is renewed only.
		{times6{time.Hour, 0, 300 * s, 400 * s}, 150 * s, 240 * s},                 // After the end.
		{times6{0, 0, 300 * s, infinite6}, 150 * s, 240 * s},                       // Valid without end, preferred for a time.
		{times6{100 * s, 200 * s, infinite6, infinite6}, 100 * s, 200 * s},         // Without end, and the server wants to be asked.
		{times6{0, 0, infinite6, infinite6}, infinite6, infinite6},                 // Without end.
		{times6{infinite6, infinite6, infinite6, infinite6}, infinite6, infinite6}, // The same.
	} {
		if t1, t2 := x.in.extend(); t1 != x.t1 || t2 != x.t2 {
			t.Errorf("%+v: %s, %s; want %s, %s", x.in, t1, t2, x.t1, x.t2)
		}
	}
}

// What a client does first depends on the lease that it had.
func TestFirst6(t *testing.T) {
	now := timeline.Now()
	address, prefix := netip.MustParsePrefix("2001:db8::7/128"), []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/56")}
	for name, x := range map[string]struct {
		asks    asks6
		had     *lease.Lease
		current bool
		want    State
	}{
		"no lease":             {asks6{address: true}, nil, false, Soliciting},
		"of this boot":         {asks6{address: true}, &lease.Lease{Address: address, Expires: now + time.Hour}, true, Confirming},
		"of an earlier boot":   {asks6{address: true}, &lease.Lease{Address: address, Expires: now + time.Hour}, false, Rebooting},
		"ended":                {asks6{address: true}, &lease.Lease{Address: address, Expires: now}, true, Soliciting},
		"a prefix only":        {asks6{address: true, prefixes: true}, &lease.Lease{Prefixes: prefix, Expires: now + time.Hour}, true, Soliciting},
		"both":                 {asks6{address: true, prefixes: true}, &lease.Lease{Address: address, Prefixes: prefix, Expires: now + time.Hour}, true, Confirming},
		"information":          {asks6{address: true}, &lease.Lease{Expires: lease.Forever}, true, Soliciting},
		"asks for information": {asks6{information: true}, &lease.Lease{Address: address, Expires: now + time.Hour}, true, Informing},
	} {
		c := client6{identity: newIdentity6(mac, x.asks.address, x.asks.prefixes), inform: x.asks.information}
		if got := c.first(x.had, x.current); got != x.want {
			t.Errorf("%s: %s, want %s", name, got, x.want)
		}
	}
}

// The offer of the server with the highest preference is taken, and one with 255, or a lease, at once.
func TestOffers6(t *testing.T) {
	offer := func(kind dhcpv6.MessageType, server byte, options ...dhcpv6.Option) *dhcpv6.Message {
		return reply(t, func(m *dhcpv6.Message, _ *dhcpv6.OptIANA, _ *dhcpv6.OptIAPD) {
			m.MessageType = kind
			m.AddOption(dhcpv6.OptClientID(newIdentity6(mac, true, true).duid()))
			m.UpdateOption(dhcpv6.OptServerID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, server}}))
			for _, o := range options {
				m.AddOption(o)
			}
		})
	}
	option := func(code dhcpv6.OptionCode, data ...byte) dhcpv6.Option {
		return &dhcpv6.OptionGeneric{OptionCode: code, OptionData: data}
	}
	advertise, answer := dhcpv6.MessageTypeAdvertise, dhcpv6.MessageTypeReply
	for name, x := range map[string]struct {
		offers []*dhcpv6.Message
		server byte // the last byte of its DUID; 0: none
		atOnce bool
	}{
		"one":             {[]*dhcpv6.Message{offer(advertise, 1)}, 1, false},
		"the first":       {[]*dhcpv6.Message{offer(advertise, 1), offer(advertise, 2)}, 1, false},
		"the preferred":   {[]*dhcpv6.Message{offer(advertise, 1, option(dhcpv6.OptionPreference, 5)), offer(advertise, 2, option(dhcpv6.OptionPreference, 9)), offer(advertise, 3)}, 2, false},
		"the highest":     {[]*dhcpv6.Message{offer(advertise, 1), offer(advertise, 2, option(dhcpv6.OptionPreference, 255))}, 2, true},
		"a lease":         {[]*dhcpv6.Message{offer(advertise, 1, option(dhcpv6.OptionPreference, 9)), offer(answer, 2, option(dhcpv6.OptionRapidCommit))}, 2, true},
		"an odd reply":    {[]*dhcpv6.Message{offer(answer, 1)}, 0, false},
		"another message": {[]*dhcpv6.Message{offer(dhcpv6.MessageTypeReconfigure, 1)}, 0, false},
		"no addresses":    {[]*dhcpv6.Message{offer(advertise, 1, &dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail}, option(dhcpv6.OptionSolMaxRT, 0, 0, 1, 0))}, 0, false},
	} {
		c := &client6{client: client{link: &net.Interface{Name: "eth0"}}, identity: newIdentity6(mac, true, true)}
		o := offers6{client: c, enough: func() {}}
		atOnce := false
		for _, m := range x.offers {
			parsed, err := dhcpv6.MessageFromBytes(m.ToBytes())
			if err != nil {
				t.Fatal(err)
			}
			atOnce = o.take(parsed)
		}
		o.stop()
		got := byte(0)
		if o.best != nil {
			id := o.best.Options.ServerID().ToBytes()
			got = id[len(id)-1]
		}
		if got != x.server || atOnce != x.atOnce {
			t.Errorf("%s: server %d, at once: %v", name, got, atOnce)
		}
		if name == "no addresses" && c.maxima.solicit != 256*time.Second {
			t.Errorf("the longest pause is %s", c.maxima.solicit)
		}
	}
}

func TestAsksOf(t *testing.T) {
	for _, x := range []struct {
		managed, other, prefixes bool
		want                     asks6
	}{
		{false, false, false, asks6{}}, {true, true, false, asks6{address: true}}, {false, true, false, asks6{information: true}}, {false, true, true, asks6{prefixes: true}}, {true, false, true, asks6{address: true, prefixes: true}},
	} {
		if got := asksOf(x.managed, x.other, lease.Options{Prefixes: x.prefixes}); got != x.want {
			t.Errorf("%+v: %+v", x, got)
		}
	}
}

// No message of a server makes a lease that cannot be, and none makes the client panic.
func FuzzLeaseOf6(f *testing.F) {
	f.Add(reply(f, func(*dhcpv6.Message, *dhcpv6.OptIANA, *dhcpv6.OptIAPD) {}).ToBytes())
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := dhcpv6.MessageFromBytes(text)
		if err != nil {
			return
		}
		_, _ = informationOf("eth0", m, time.Minute)
		o := offers6{client: &client6{client: client{link: &net.Interface{Name: "eth0"}}, identity: newIdentity6(mac, true, true)}, enough: func() {}}
		o.take(m)
		o.stop()
		_ = ended(m, lease.Lease{Address: netip.MustParsePrefix("2001:db8::7/128")}) || notBound(m)
		l, err := leaseOf6("eth0", newIdentity6(mac, true, true), m, time.Minute)
		if err != nil {
			return
		}
		if !l.Address.IsValid() && len(l.Prefixes) == 0 || l.Renew > l.Rebind || l.Rebind > l.Expires && l.Expires != lease.Forever || strings.ContainsAny(strings.Join(l.Search, ""), "\n \x00") {
			t.Errorf("%+v", l)
		}
	})
}
