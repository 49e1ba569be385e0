package netcfg

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

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
		t.Fatalf("link points to %s, want %s", path, want)
	}
	one := netip.MustParseAddr("10.0.2.3")
	if err := writeResolvConf(path, resolvConf([]netip.Addr{one, netip.MustParseAddr("fd00::53"), one})); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(etc); string(got) != "nameserver 10.0.2.3\nnameserver fd00::53\n" {
		t.Errorf("resolv.conf is %q", got)
	}
	if err := writeResolvConf(pnpFile, "nameserver 10.0.2.3\n"); err != nil {
		t.Errorf("a link to the kernel's file: %v", err)
	}
}

func TestResolvFromPNP(t *testing.T) {
	for in, want := range map[string]string{
		"":          "",
		"#MANUAL\n": "",
		"#MANUAL\nbootserver 10.0.2.2\ndomain example.org\n":                                            "",
		"#PROTO: DHCP\ndomain example.org\nnameserver 10.0.2.3\nnameserver 1.1.1.1\nbootserver 0.0.0.0": "domain example.org\nnameserver 10.0.2.3\nnameserver 1.1.1.1\n",
	} {
		if got := resolvFromPNP(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
