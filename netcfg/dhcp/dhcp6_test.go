package dhcp

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"keelson/netcfg/lease"
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
			return l.Address.String() == "2001:db8::7/128" && len(l.Prefixes) == 1 && l.Renew == now+100*time.Second && l.Rebind == now+200*time.Second && l.Expires == now+400*time.Second
		}},
		"times of ours":    {change: func(_ *dhcpv6.Message, na *dhcpv6.OptIANA, _ *dhcpv6.OptIAPD) { na.T1, na.T2 = 0, 0 }, check: func(l lease.Lease) bool { return l.Renew == now+150*time.Second && l.Rebind == now+240*time.Second }},
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
	status := func(code iana.StatusCode, inIA bool) *dhcpv6.Message {
		return reply(t, func(m *dhcpv6.Message, na *dhcpv6.OptIANA, _ *dhcpv6.OptIAPD) {
			s := &dhcpv6.OptStatusCode{StatusCode: code}
			if inIA {
				na.Options.Add(s)
			} else {
				m.AddOption(s)
			}
		})
	}
	for code, want := range map[iana.StatusCode]bool{iana.StatusNoBinding: true, iana.StatusNotOnLink: true, iana.StatusUnspecFail: false, iana.StatusNoAddrsAvail: false, iana.StatusSuccess: false} {
		for _, inIA := range []bool{false, true} {
			if got := ended(status(code, inIA)); got != want {
				t.Errorf("%s (in the IA: %v): %v", code, inIA, got)
			}
		}
	}
	if list := servers6("eth0", []net.IP{net.ParseIP("fe80::1"), net.ParseIP("2001:db8::1")}); len(list) != 2 || list[0].String() != "fe80::1%eth0" || list[1].String() != "2001:db8::1" {
		t.Errorf("%v", list)
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
		l, err := leaseOf6("eth0", newIdentity6(mac, true, true), m, time.Minute)
		if err != nil {
			return
		}
		if !l.Address.IsValid() && len(l.Prefixes) == 0 || l.Renew > l.Rebind || l.Rebind > l.Expires && l.Expires != lease.Forever || strings.ContainsAny(strings.Join(l.Search, ""), "\n \x00") {
			t.Errorf("%+v", l)
		}
	})
}
