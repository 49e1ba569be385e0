package netcfg

import (
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestParseIP(t *testing.T) {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	mac := net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	for _, tc := range []struct {
		in   string
		want IPParam
	}{
		{"", IPParam{}},
		{"off", IPParam{}},
		{"none", IPParam{}},
		{"static", IPParam{}},
		{"::::::off", IPParam{}},
		{"::::::", IPParam{Dynamic: "any"}},
		{"::::box", IPParam{Dynamic: "any", Hostname: "box"}},
		{"dhcp", IPParam{Dynamic: "dhcp"}},
		{"on", IPParam{Dynamic: "on"}},
		{"any", IPParam{Dynamic: "any"}},
		{"bootp", IPParam{Dynamic: "bootp"}},
		{"rarp", IPParam{Dynamic: "rarp"}},
		{"both", IPParam{Dynamic: "both"}},
		{"auto6", IPParam{Up: true}},
		{"dhcp,1,client-id", IPParam{Dynamic: "dhcp", ClientID: "01636c69656e742d6964"}},
		{"dhcp,0x0,aa:bb:cc", IPParam{Dynamic: "dhcp", ClientID: "0061613a62623a6363"}},
		{":::::eth0:dhcp,1,client-id", IPParam{Dynamic: "dhcp", Device: "eth0", ClientID: "01636c69656e742d6964"}},
		{"::::box.example.org:eth0:dhcp:10.0.2.3", IPParam{Dynamic: "dhcp", Device: "eth0", Hostname: "box", Domain: "example.org",
			DNS: []netip.Addr{addr("10.0.2.3")}}},
		{"10.0.0.5", IPParam{Client: prefix("10.0.0.5/8")}},
		{"10.0.0.5/24::10.0.0.1", IPParam{Client: prefix("10.0.0.5/24"), Gateway: addr("10.0.0.1")}},
		{"172.16.0.5::::h", IPParam{Client: prefix("172.16.0.5/16"), Hostname: "h"}},
		{"192.168.0.5:::255.255.254.0", IPParam{Client: prefix("192.168.0.5/23")}},
		{"10.0.0.1:::24", IPParam{Client: prefix("10.0.0.1/24")}},
		{"10.0.0.1:::255.255.255.0::eth0:dhcp", IPParam{Client: prefix("10.0.0.1/24"), Device: "eth0"}},
		{"10.0.0.1:::255.255.255.0::eth0:static", IPParam{Client: prefix("10.0.0.1/24"), Device: "eth0"}},
		{"10.0.2.15:10.0.2.9:10.0.2.2:255.255.255.0:box:eth0:off:10.0.2.3:1.1.1.1:10.0.2.4", IPParam{
			Client: prefix("10.0.2.15/24"), Gateway: addr("10.0.2.2"), Hostname: "box", Device: "eth0",
			DNS: []netip.Addr{addr("10.0.2.3"), addr("1.1.1.1")}}},
		{"10.0.2.15::0.0.0.0:255.255.255.255::eth1:none:0.0.0.0", IPParam{Client: prefix("10.0.2.15/32"), Device: "eth1"}},
		{"192.0.2.10::172.31.1.1:255.255.255.255::eth0:none:1.1.1.1", IPParam{
			Client: prefix("192.0.2.10/32"), Gateway: addr("172.31.1.1"), Device: "eth0", DNS: []netip.Addr{addr("1.1.1.1")}}},
		{"[2001:db8::5]::[fe80::1]:64:box:eth0:none:[2001:db8::53]", IPParam{
			Client: prefix("2001:db8::5/64"), Gateway: addr("fe80::1"), Hostname: "box", Device: "eth0", DNS: []netip.Addr{addr("2001:db8::53")}}},
		{"[2001:db8::5/48]", IPParam{Client: prefix("2001:db8::5/48")}},
		{"[2001:db8::5]", IPParam{Client: prefix("2001:db8::5/128")}},
		{"eth0:dhcp", IPParam{Dynamic: "dhcp", Device: "eth0"}},
		{"eth0:off", IPParam{Device: "eth0"}},
		{"eth0:auto6", IPParam{Up: true, Device: "eth0"}},
		{"eth0:dhcp:1400", IPParam{Dynamic: "dhcp", Device: "eth0", MTU: 1400}},
		{"eth0:dhcp:1400:52:54:00:12:34:56", IPParam{Dynamic: "dhcp", Device: "eth0", MTU: 1400, MAC: mac}},
		{"eth0:dhcp::52-54-00-12-34-56", IPParam{Dynamic: "dhcp", Device: "eth0", MAC: mac}},
		{"10.0.0.5::10.0.0.1:255.255.255.0:box:eth0:none:9000:52:54:00:12:34:56", IPParam{
			Client: prefix("10.0.0.5/24"), Gateway: addr("10.0.0.1"), Hostname: "box", Device: "eth0", MTU: 9000, MAC: mac}},
		{"10.0.0.5:::24::eth0:none::52:54:00:12:34:56", IPParam{Client: prefix("10.0.0.5/24"), Device: "eth0", MAC: mac}},
		{"10.0.0.5:::24::eth0:none:1400", IPParam{Client: prefix("10.0.0.5/24"), Device: "eth0", MTU: 1400}},
	} {
		got, err := ParseIP(tc.in)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("ip=%s: %+v, %v\nwant %+v", tc.in, got, err, tc.want)
		}
	}
}

// The error names the field that is not usable; the other fields are parsed.
func TestParseIPNamesFields(t *testing.T) {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	for _, tc := range []struct {
		in, fields string
		want       IPParam
	}{
		{"10.0.0", "client", IPParam{}},
		{"dhcp,256,x", "autoconf", IPParam{Dynamic: "dhcp"}},
		{"dhcp,x", "autoconf", IPParam{Dynamic: "dhcp"}},
		{"dhcp,1,", "autoconf", IPParam{Dynamic: "dhcp"}},
		{"x", "client", IPParam{}},
		{"fd00::1", "client", IPParam{}}, // Reads as client "fd00", server "", gateway "1".
		{"10.0.0.1:::255.0.255.0:box", "netmask", IPParam{Client: prefix("10.0.0.1/8"), Hostname: "box"}},
		{"10.0.0.1:::33", "netmask", IPParam{Client: prefix("10.0.0.1/8")}},
		{"[fd00::1]:::129", "netmask", IPParam{Client: prefix("fd00::1/128")}},
		{"[fd00::1]:::255.255.255.0", "netmask", IPParam{Client: prefix("fd00::1/128")}},
		{"10.0.0.1::gw:24:::none:10.0.0.3", "gw", IPParam{Client: prefix("10.0.0.1/24"), DNS: []netip.Addr{addr("10.0.0.3")}}},
		{"10.0.0.1::[fe80::1]:24", "gw", IPParam{Client: prefix("10.0.0.1/24")}},
		{"::10.0.0.1:::eth0:dhcp", "gw", IPParam{Dynamic: "dhcp", Device: "eth0"}},
		{"10.0.0.1:srv::24", "server", IPParam{Client: prefix("10.0.0.1/24")}},
		{"10.0.0.1:::24:::maybe", "autoconf", IPParam{Client: prefix("10.0.0.1/24")}},
		{"10.0.0.1:::24:box:a/b", "device", IPParam{Hostname: "box"}},
		{"10.0.0.1:::24::sixteen-letters-", "device", IPParam{}},
		{"10.0.0.1:::24::::dns:1.1.1.1", "dns0", IPParam{Client: prefix("10.0.0.1/24"), DNS: []netip.Addr{addr("1.1.1.1")}}},
		{"10.0.0.1:::24::::::ntp", "ntp0", IPParam{Client: prefix("10.0.0.1/24")}},
		{"10.0.0.1:::24:::::::x", "11", IPParam{Client: prefix("10.0.0.1/24")}},
		{"10.0.0.1:::24::eth0:none:10", "mtu", IPParam{Client: prefix("10.0.0.1/24"), Device: "eth0"}},
		{"eth0:dhcp:1400:zz", "mac", IPParam{Dynamic: "dhcp", Device: "eth0", MTU: 1400}},
		{"eth0:dhcp:1400:01:00:5e:00:00:01", "mac", IPParam{Dynamic: "dhcp", Device: "eth0", MTU: 1400}},
		{"eth0:dhcp::00:00:00:00:00:00", "mac", IPParam{Dynamic: "dhcp", Device: "eth0"}},
		{"eth0:dhcp::02:00:00:00:00:00:00:01", "mac", IPParam{Dynamic: "dhcp", Device: "eth0"}},
		{"eth0:auto6:1279", "mtu", IPParam{Device: "eth0", Up: true}},
		{"[fd00::1]:::64::eth0:none:576", "mtu", IPParam{Client: prefix("fd00::1/64"), Device: "eth0"}},
		{"224.0.0.1:::24:box", "client", IPParam{Hostname: "box"}},
		{"255.255.255.255:::24:box", "client", IPParam{Hostname: "box"}},
		{"[::1]:::64:box", "client", IPParam{Hostname: "box"}},
		{"[ff02::1]:::64:box", "client", IPParam{Hostname: "box"}},
		{"10.0.0.1::224.0.0.1:24", "gw", IPParam{Client: prefix("10.0.0.1/24")}},
		{"10.0.0.1::10.0.0.1:24", "gw", IPParam{Client: prefix("10.0.0.1/24")}},
		{"[fd00::1]::[ff02::2]:64", "gw", IPParam{Client: prefix("fd00::1/64")}},
		{"10.0.0.1:::24:" + strings.Repeat("h", 65), "hostname", IPParam{Client: prefix("10.0.0.1/24")}},
		{"10.0.0::bad:24:box", "client gw", IPParam{Hostname: "box"}},
	} {
		got, err := ParseIP(tc.in)
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("ip=%s: %+v, want %+v", tc.in, got, tc.want)
		}
		for _, field := range strings.Fields(tc.fields) {
			if err == nil || !strings.Contains(err.Error(), "field "+field+" of ip="+tc.in+":") {
				t.Errorf("ip=%s: %v, want field %s named", tc.in, err, field)
			}
		}
	}
}

func FuzzParseIP(f *testing.F) {
	for _, seed := range []string{"10.0.2.15::10.0.2.2:255.255.255.0:box:eth0:off:10.0.2.3:1.1.1.1", "dhcp", "::::::off", "dhcp,1,aa:bb",
		"[fd00::1/64]::[fe80::1]:::eth0:none:9000:52:54:00:12:34:56", "eth0:dhcp:1400:52-54-00-12-34-56", "[", "]:[:]:/", "[::/]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseIP(s)
		switch {
		case p.Client != netip.Prefix{} && !p.Client.IsValid():
			t.Fatalf("%q: client %v", s, p.Client)
		case p.Gateway.IsValid() && (!p.Client.IsValid() || p.Gateway.Is4() != p.Client.Addr().Is4()):
			t.Fatalf("%q: gateway %v of client %v", s, p.Gateway, p.Client)
		case len(p.Device) > 15 || strings.ContainsAny(p.Device, "/\x00") || p.MTU < 0 || p.MTU > 65535 || len(p.Hostname) > 64:
			t.Fatalf("%q: %+v", s, p)
		case err == nil && s != "" && reflect.DeepEqual(p, IPParam{}) && !strings.Contains(s, ":") && !isMethod(s) && s != "0.0.0.0" && s[0] != '[' && !strings.Contains(s, "/"):
			t.Fatalf("%q: neither a field nor an error", s)
		}
		for _, dns := range p.DNS {
			if !dns.IsValid() {
				t.Fatalf("%q: %+v", s, p)
			}
		}
	})
}
