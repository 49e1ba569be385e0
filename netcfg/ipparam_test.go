package netcfg

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestParseIP(t *testing.T) {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	for _, tc := range []struct {
		in   string
		want IPParam
	}{
		{"off", IPParam{Off: true}},
		{"none", IPParam{Off: true}},
		{"::::::off", IPParam{Off: true}},
		{"10.0.0.5", IPParam{Client: prefix("10.0.0.5/8")}},
		{"172.16.0.5::::h", IPParam{Client: prefix("172.16.0.5/16"), Hostname: "h"}},
		{"192.168.0.5:::255.255.254.0", IPParam{Client: prefix("192.168.0.5/23")}},
		{"10.0.2.15::10.0.2.2:255.255.255.0:box:eth0:off:10.0.2.3:1.1.1.1:10.0.2.4", IPParam{
			Client: prefix("10.0.2.15/24"), Gateway: addr("10.0.2.2"), Hostname: "box", Device: "eth0",
			DNS: []netip.Addr{addr("10.0.2.3"), addr("1.1.1.1")}}},
		{"10.0.2.15:::255.255.255.255::eth1:none:0.0.0.0", IPParam{Client: prefix("10.0.2.15/32"), Device: "eth1"}},
	} {
		got, err := ParseIP(tc.in)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, %v\nwant %+v", tc.in, got, err, tc.want)
		}
	}
}

func TestParseIPRefuses(t *testing.T) {
	for _, in := range []string{"dhcp", "on", "any", ":::::eth0:dhcp", "", "::::::"} {
		if _, err := ParseIP(in); !errors.Is(err, ErrDynamic) {
			t.Errorf("%q: %v, want ErrDynamic", in, err)
		}
	}
	for _, in := range []string{"10.0.0", "10.0.0.1:::255.0.255.0", "10.0.0.1:::24", "x", "fe80", "10.0.0.1::gw",
		"10.0.0.1::::::maybe", "10.0.0.1:::::a/b", "10.0.0.1:::::::::::1", "10.0.0.1:::::::dns", "10.0.0.1:srv"} {
		if p, err := ParseIP(in); err == nil || errors.Is(err, ErrDynamic) {
			t.Errorf("%q: %+v, %v; want a refusal", in, p, err)
		}
	}
}

func FuzzParseIP(f *testing.F) {
	f.Add("10.0.2.15::10.0.2.2:255.255.255.0:box:eth0:off:10.0.2.3:1.1.1.1")
	f.Add("dhcp")
	f.Add("::::::off")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseIP(s)
		if err == nil && !p.Off && !p.Client.IsValid() {
			t.Fatalf("%q: neither off nor an address: %+v", s, p)
		}
	})
}

func TestResolvConf(t *testing.T) {
	dir := t.TempDir()
	etc := filepath.Join(dir, "etc")
	if got := resolvConfPath(etc); got != ResolvConf {
		t.Errorf("without a link: %s", got)
	}
	if err := os.Symlink("run/r/resolv.conf", etc); err != nil {
		t.Fatal(err)
	}
	path := resolvConfPath(etc)
	if want := filepath.Join(dir, "run/r/resolv.conf"); path != want {
		t.Fatalf("link leads to %s, want %s", path, want)
	}
	if err := writeResolvConf(path, []netip.Addr{netip.MustParseAddr("10.0.2.3")}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(etc); string(got) != "nameserver 10.0.2.3\n" {
		t.Errorf("resolv.conf is %q", got)
	}
}
