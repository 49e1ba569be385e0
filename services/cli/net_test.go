package cli

import (
	"reflect"
	"testing"

	"keelson/runtime/network"
)

func TestLinkRows(t *testing.T) {
	got := linkRows(network.Link{
		Addresses: []network.Address{
			{Prefix: "192.0.2.7/24", ValidFor: 3600}, {Prefix: "192.0.2.8/24"}, {Prefix: "2001:db8::7/128", ValidFor: 600, PreferredFor: 60},
			{Prefix: "2001:db8::8/64", Note: "deprecated", ValidFor: 60},
		},
		Leases: []network.Lease{
			{Family: 4, Address: "192.0.2.7/24", Server: "192.0.2.1", ValidFor: 3600},
			{Family: 6, Address: "2001:db8::7/128", Prefixes: []string{"2001:db8:1::/56"}, ValidFor: 600},
		},
	})
	want := [][2]string{
		{"192.0.2.7/24", "DHCPv4 192.0.2.1, for 1h0m0s"}, {"192.0.2.8/24", "-"}, {"2001:db8::7/128", "DHCPv6, for 10m0s, preferred for 1m0s"},
		{"2001:db8::8/64", "deprecated, for 1m0s"}, {"2001:db8:1::/56", "delegated, for 10m0s"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
