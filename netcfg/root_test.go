package netcfg

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"keelson/testvm/tier"
)

// inOwnNet runs the test once more as a process with network, host name and
// mounts of its own. It reports whether this is that process.
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

func TestApplyIP(t *testing.T) {
	if !inOwnNet(t) {
		return
	}
	must(t, unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	must(t, unix.Mount("tmpfs", "/etc", "tmpfs", 0, ""))
	add(t, "eth0")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range 2 {
		must(t, ApplyIP(ctx, "10.9.0.5::10.9.0.1:255.255.255.0:box:eth0:off:10.9.0.2"))
	}
	if got := addresses(t, "eth0"); !strings.HasPrefix(got, "10.9.0.5/24") {
		t.Errorf("eth0 has %s", got)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	must(t, err)
	var gateways []string
	for _, r := range routes {
		if r.Gw != nil {
			gateways = append(gateways, r.Gw.String())
		}
	}
	if strings.Join(gateways, " ") != "10.9.0.1" {
		t.Errorf("gateways %v", gateways)
	}
	if name, _ := os.Hostname(); name != "box" {
		t.Errorf("host is called %s", name)
	}
	if got, _ := os.ReadFile(ResolvConf); string(got) != "nameserver 10.9.0.2\n" {
		t.Errorf("resolv.conf is %q", got)
	}
}

func TestApplyIPWaitsForTheDevice(t *testing.T) {
	if !inOwnNet(t) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- ApplyIP(ctx, "10.9.0.5:::::late0") }()
	add(t, "late0")
	must(t, <-result)
	if got := addresses(t, "late0"); !strings.HasPrefix(got, "10.9.0.5/8") {
		t.Errorf("late0 has %s", got)
	}
	over, stop := context.WithCancel(context.Background())
	stop()
	if err := ApplyIP(over, "10.9.0.6:::::never0"); !errors.Is(err, ErrNoLink) {
		t.Errorf("a device that never comes: %v", err)
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
			t.Errorf("%+v was taken", bad)
		}
	}
}

// A container that is started again gets its links, though the kernel takes
// back those of its last run only after a while.
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
