package netcfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"keelson/testvm/tier"
)

// inOwnNet runs the test again in a process with its own network, UTS and mount namespaces.
// It reports whether this is that process.
func inOwnNet(t *testing.T) bool {
	t.Helper()
	const mark = "KEELSON_TEST_OWN_NET"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	tier.Root(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS,
		Unshareflags: syscall.CLONE_NEWNS,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in its own network: %v\n%s", err, out)
	}
	return false
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// add makes a link that every kernel with containers has.
func add(t *testing.T, name string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "-far"}))
}

func addresses(t *testing.T, name string) string {
	t.Helper()
	link, err := linkByName(name)
	must(t, err)
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	must(t, err)
	var all []string
	for _, a := range list {
		all = append(all, a.IPNet.String())
	}
	return strings.Join(all, " ")
}

func TestLoopback(t *testing.T) {
	if !inOwnNet(t) {
		return
	}
	for range 2 {
		must(t, Loopback())
	}
	if got := addresses(t, "lo"); !strings.HasPrefix(got, "127.0.0.1/8") {
		t.Errorf("lo has %s", got)
	}
	if _, err := HardwareAddr("none0"); !errors.Is(err, ErrNoLink) {
		t.Errorf("address of a missing link: %v", err)
	}
}

// apply parses and applies values as the boot does.
func apply(t *testing.T, values ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var list []IPParam
	for _, value := range values {
		p, err := ParseIP(value)
		must(t, err)
		list = append(list, p)
	}
	for i, p := range list {
		_, err := p.Apply(ctx, Rank(list, i))
		must(t, err)
	}
}

// gateways returns the default routes, as "GATEWAY METRIC".
func gateways(t *testing.T, family int) string {
	t.Helper()
	routes, err := netlink.RouteList(nil, family)
	must(t, err)
	var all []string
	for _, r := range routes {
		if r.Gw != nil {
			all = append(all, fmt.Sprintf("%s %d", r.Gw, r.Priority))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestApply(t *testing.T) {
	if !inOwnNet(t) {
		return
	}
	add(t, "eth0")
	for range 2 {
		apply(t, "10.9.0.5::10.9.0.1:255.255.255.0:box:eth0:off:10.9.0.2")
	}
	if got := addresses(t, "eth0"); !strings.HasPrefix(got, "10.9.0.5/24") {
		t.Errorf("eth0 has %s", got)
	}
	if got := gateways(t, netlink.FAMILY_V4); got != "10.9.0.1 0" {
		t.Errorf("gateways %s", got)
	}
	// An existing configuration, as from the kernel, is kept.
	apply(t, "10.9.0.5:::16::eth0")
	if got := addresses(t, "eth0"); strings.Contains(got, "/16") {
		t.Errorf("eth0 has %s", got)
	}
	p, err := ParseIP(":::::eth0:dhcp")
	must(t, err)
	if there, err := p.Configured(); err != nil || there != "10.9.0.5/24 on eth0" {
		t.Errorf("eth0 has %q, %v", there, err)
	}
}

// Clouds assign a single address, with a gateway outside of its prefix.
func TestApplyOnLink(t *testing.T) {
	if !inOwnNet(t) {
		return
	}
	add(t, "eth0")
	add(t, "eth1")
	apply(t, "192.0.2.10::172.31.1.1:255.255.255.255::eth0:none:1.1.1.1", "198.51.100.7::198.51.100.1:24::eth1:none:1400:52:54:00:12:34:56",
		"[2001:db8::5]::[fe80::1]:64::eth0:none", "[2001:db8:1::5]::[2001:db8:2::1]:64::eth1:none")
	if got := addresses(t, "eth0"); !strings.HasPrefix(got, "192.0.2.10/32 ") || !strings.Contains(got, "2001:db8::5/64") {
		t.Errorf("eth0 has %s", got)
	}
	if got := gateways(t, netlink.FAMILY_V4); got != "172.31.1.1 0, 198.51.100.1 1" {
		t.Errorf("gateways %s", got)
	}
	if got := gateways(t, netlink.FAMILY_V6); got != "2001:db8:2::1 1025, fe80::1 1024" {
		t.Errorf("IPv6 gateways %s", got)
	}
	link, err := linkByName("eth1")
	must(t, err)
	if a := link.Attrs(); a.MTU != 1400 || a.HardwareAddr.String() != "52:54:00:12:34:56" {
		t.Errorf("eth1 has MTU %d and address %s", a.MTU, a.HardwareAddr)
	}
}

// A field that the kernel refuses does not keep the others from being applied: here a
// hardware address and a gateway that are multicast addresses, which ParseIP refuses.
func TestApplyAsFarAsItGoes(t *testing.T) {
	if !inOwnNet(t) {
		return
	}
	add(t, "eth0")
	p, err := ParseIP("10.9.0.5:::24:box.example.org:eth0:none:1400")
	must(t, err)
	p.Gateway, p.MAC = netip.MustParseAddr("224.0.0.1"), net.HardwareAddr{0x01, 0x00, 0x5e, 0, 0, 1}
	_, err = p.Apply(t.Context(), 0)
	for _, field := range []string{"field mac", "field gw"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v, want %s named", err, field)
		}
	}
	if got := addresses(t, "eth0"); !strings.HasPrefix(got, "10.9.0.5/24") {
		t.Errorf("eth0 has %s", got)
	}
	must(t, p.SetHostName())
	var uts unix.Utsname
	must(t, unix.Uname(&uts))
	if name, domain := unix.ByteSliceToString(uts.Nodename[:]), unix.ByteSliceToString(uts.Domainname[:]); name != "box" || domain != "example.org" {
		t.Errorf("host name %s, domain %s", name, domain)
	}
}

func TestNameServers(t *testing.T) {
	if !inOwnNet(t) {
		return
	}
	must(t, unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	must(t, unix.Mount("tmpfs", "/etc", "tmpfs", 0, ""))
	must(t, NameServers([]netip.Addr{netip.MustParseAddr("10.9.0.2")}))
	if got, _ := os.ReadFile(ResolvConf); string(got) != "nameserver 10.9.0.2\n" {
		t.Errorf("resolv.conf is %q", got)
	}
}

func TestApplyWaitsForTheDevice(t *testing.T) {
	if !inOwnNet(t) {
		return
	}
	p, err := ParseIP("10.9.0.5:::::late0")
	must(t, err)
	if there, err := p.Present(); there || err != nil {
		t.Errorf("Present returns %v, %v", there, err)
	}
	result := make(chan error, 1)
	go func() { _, err := p.Apply(t.Context(), 0); result <- err }()
	add(t, "late0")
	must(t, <-result)
	if got := addresses(t, "late0"); !strings.HasPrefix(got, "10.9.0.5/8") {
		t.Errorf("late0 has %s", got)
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	p.Device = "never0"
	if _, err := p.Apply(over, 0); !errors.Is(err, ErrNoLink) {
		t.Errorf("a device that never appears: %v", err)
	}
}

func TestInterfaces(t *testing.T) {
	if !inOwnNet(t) {
		return
	}
	other := exec.Command("sleep", "60")
	other.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	must(t, other.Start())
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	}()
	add(t, "eth7")
	must(t, Interfaces(t.Context(), other.Process.Pid, []Interface{
		{Name: "eth7"},
		{Name: "d0", Add: "bridge"},
		{Name: "d1", Add: "veth", CreateInRoot: true},
		{Name: "v0", Add: "veth", Peer: "out0"},
		{Name: "v1", Peer: "out1"},
	}))
	for _, peer := range []string{"out0", "out1"} {
		if _, err := linkByName(peer); err != nil {
			t.Errorf("peer is not outside: %v", err)
		}
	}
	ns, err := netns.GetFromPid(other.Process.Pid)
	must(t, err)
	defer ns.Close()
	inside, err := netlink.NewHandleAt(ns)
	must(t, err)
	for _, name := range []string{"eth7", "d0", "d1", "v0", "v1"} {
		if _, err := inside.LinkByName(name); err != nil {
			t.Errorf("%s is not inside: %v", name, err)
		}
		if _, err := linkByName(name); !errors.Is(err, ErrNoLink) {
			t.Errorf("%s is outside as well (%v)", name, err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, bad := range []Interface{{}, {Name: "none9"}, {Name: "a", Add: "bridge", Peer: "b"}, {Name: "a", CreateInRoot: true},
		{Name: "a", Add: "nosuchtype"}, {Name: "d0", Add: "bridge"}} {
		if err := Interfaces(short, other.Process.Pid, []Interface{bad}); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// A container that is started again gets its links, although the kernel removes those of its
// last run with a delay.
func TestInterfacesComeBack(t *testing.T) {
	if !inOwnNet(t) {
		return
	}
	for range 5 {
		other := exec.Command("sleep", "60")
		other.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		must(t, other.Start())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := Interfaces(ctx, other.Process.Pid, []Interface{{Name: "v0", Peer: "out0"}, {Name: "w0", Add: "veth", Peer: "x0", CreateInRoot: true}})
		cancel()
		_ = other.Process.Kill()
		_ = other.Wait()
		must(t, err)
	}
}
