package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/netcfg/lease"
	"keelson/runtime/durable"
	"keelson/runtime/network"
	"keelson/runtime/timeline"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

func TestMain(m *testing.M) { nstest.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func iproute(t *testing.T, args string) string {
	t.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
}

// service is a network service in a test.
type service struct {
	*Daemon
	dir    string
	events chan string
	reload chan struct{}
	stop   func()
}

// start starts one, with the state of an earlier one in dir.
func start(t *testing.T, dir string) *service {
	t.Helper()
	s := &service{dir: dir, events: make(chan string, 1000), reload: make(chan struct{}, 1)}
	ready := make(chan struct{})
	s.Daemon = &Daemon{
		File: filepath.Join(dir, "netcfg.yml"), Dir: dir, Leases: filepath.Join(dir, "leases"), Request: filepath.Join(dir, "dhcp.json"), Resolv: filepath.Join(dir, "resolv.conf"),
		Hosts: filepath.Join(dir, "hosts"), Hostname: "/proc/sys/kernel/hostname", Log: slog.New(slog.DiscardHandler),
		Report: func(text string) { s.events <- text }, Ready: func() { close(ready) },
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx, s.reload) }()
	go func() { ended <- s.Serve(ctx, filepath.Join(dir, "sock")) }()
	s.stop = func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	<-ready
	return s
}

// until waits for an event.
func (s *service) until(t *testing.T, want string) {
	t.Helper()
	var got []string
	limit := time.After(5 * time.Minute)
	for {
		select {
		case text := <-s.events:
			if got = append(got, text); strings.Contains(text, want) {
				return
			}
		case <-limit:
			t.Fatalf("no event %q in %q", want, got)
		}
	}
}

func (s *service) write(t *testing.T, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(s.dir, "netcfg.yml"), []byte(text), 0o644))
	s.reload <- struct{}{}
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(elem...))
	must(t, err)
	return string(text)
}

// plan asks for a plan.
func (s *service) plan(t *testing.T, file string) (p network.Plan) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, "sock"))
	}}}
	var answer *http.Response
	var err error
	if file == "" {
		answer, err = client.Get("http://network" + network.PlanPath)
	} else {
		answer, err = client.Post("http://network"+network.PlanPath, "application/yaml", bytes.NewReader([]byte(file)))
	}
	must(t, err)
	defer answer.Body.Close()
	must(t, json.NewDecoder(answer.Body).Decode(&p))
	return p
}

func TestService(t *testing.T) {
	tier.Tool(t, "ip", "iproute2")
	nstest.Run(t, func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver 192.0.2.99\n"), 0o644))
		iproute(t, "link set lo up")
		s := start(t, dir)
		const file = "network:\n  ethernets:\n    eth0: {addresses: [192.0.2.2/24], routes: [{to: default, via: 192.0.2.1}], nameservers: {addresses: [192.0.2.53], search: [example.org]}}\n" +
			"    eth1: {dhcp4: true, dhcp4-overrides: {use-domains: true}}\n"
		s.write(t, file)
		s.until(t, "name servers: 192.0.2.99")

		// Links that appear are configured, and again when they come back.
		for range 2 {
			iproute(t, "link add eth0 type veth peer name far0")
			s.until(t, "eth0 has the address 192.0.2.2/24")
			iproute(t, "link set far0 up")
			s.until(t, "eth0 is up")
			if text := iproute(t, "route"); !strings.Contains(text, "default via 192.0.2.1 dev eth0") {
				t.Errorf("routes:\n%s", text)
			}
			if text := read(t, dir, "resolv.conf"); text != mark+"nameserver 192.0.2.53\nnameserver 192.0.2.99\nsearch example.org\n" {
				t.Errorf("resolv.conf: %q", text)
			}
			iproute(t, "link delete eth0")
			s.until(t, "eth0 is gone")
		}

		// A lease.
		iproute(t, "link add eth1 type veth peer name far1")
		s.until(t, "eth1 has no carrier")
		if r, err := lease.ReadRequest(filepath.Join(dir, "dhcp.json")); err != nil || len(r.Links) != 1 || r.Links[0].Name != "eth1" || r.Links[0].DHCP4 == nil || r.Links[0].DHCP6 != nil {
			t.Errorf("%+v, %v", r, err)
		}
		must(t, lease.Write(filepath.Join(dir, "leases"), lease.Lease{
			Link: "eth1", Family: 4, Address: netip.MustParsePrefix("198.51.100.7/24"), Server: netip.MustParseAddr("198.51.100.1"), DNS: []netip.Addr{netip.MustParseAddr("198.51.100.53")},
			Domain: "lease.example", Hostname: "from-lease", Expires: timeline.Now() + time.Hour,
		}, durable.Replace))
		s.until(t, "eth1 has a lease of DHCPv4 from 198.51.100.1")
		if name, _ := os.Hostname(); name != "from-lease" {
			t.Errorf("the host name is %s", name)
		}
		if text := read(t, dir, "resolv.conf"); text != mark+"nameserver 198.51.100.53\nnameserver 192.0.2.99\nsearch lease.example\n" {
			t.Errorf("resolv.conf: %q", text)
		}
		if text := read(t, dir, "hosts"); !strings.Contains(text, "127.0.1.1 from-lease.lease.example from-lease\n") {
			t.Errorf("hosts: %q", text)
		}
		must(t, lease.Remove(filepath.Join(dir, "leases"), "eth1", 4))
		s.until(t, "eth1 has lost its lease of DHCPv4")

		// A lease that ends while its link has no carrier: the client keeps the file, the kernel removes the address.
		end := timeline.Now() + 4*time.Second
		iproute(t, "address add 203.0.113.7/24 dev eth1 valid_lft 3 preferred_lft 3")
		must(t, lease.Write(filepath.Join(dir, "leases"), lease.Lease{
			Link: "eth1", Family: 4, Address: netip.MustParsePrefix("203.0.113.7/24"), Server: netip.MustParseAddr("203.0.113.1"), DNS: []netip.Addr{netip.MustParseAddr("203.0.113.53")},
			Expires: end,
		}, durable.Replace))
		for limit := time.Now().Add(5 * time.Minute); strings.Contains(iproute(t, "address show eth1"), "203.0.113.7") || strings.Contains(read(t, dir, "resolv.conf"), "203.0.113.53"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatal("the name server of a lease that has ended is left")
			}
		}
		must(t, lease.Remove(filepath.Join(dir, "leases"), "eth1", 4))

		// Mistakes change nothing.
		iproute(t, "link add eth0 type veth peer name far0")
		s.until(t, "eth0 has the address 192.0.2.2/24")
		s.write(t, "network: {ethernets: {eth0: {addresses: [x]}}}")
		s.until(t, "the configuration is not used")
		if text := iproute(t, "address show eth0"); !strings.Contains(text, "192.0.2.2/24") {
			t.Errorf("an address is lost:\n%s", text)
		}
		for limit := time.Now().Add(5 * time.Minute); ; time.Sleep(10 * time.Millisecond) { // It follows the event.
			var status network.Daemon
			must(t, json.Unmarshal([]byte(read(t, dir, "status.json")), &status))
			if len(status.Errors) == 1 && strings.Contains(status.Errors[0], "netcfg.yml:1: ") {
				break
			}
			if time.Now().After(limit) {
				t.Fatalf("%+v", status)
			}
		}

		// Plans.
		if p := s.plan(t, ""); len(p.Changes) != 0 || p.Error != "" {
			t.Errorf("%+v", p)
		}
		if p := s.plan(t, "network: {}"); !slices.Contains(p.Changes, "delete address 192.0.2.2/24 of eth0") {
			t.Errorf("%+v", p)
		}
		if p := s.plan(t, "network: {x: 1}"); !strings.Contains(p.Error, "the file:1: x: there is no such field") {
			t.Errorf("%+v", p)
		}

		// Its end changes nothing, and the next one knows what it has made.
		s.stop()
		if text := iproute(t, "address show eth0"); !strings.Contains(text, "192.0.2.2/24") {
			t.Errorf("an address is lost:\n%s", text)
		}
		must(t, os.WriteFile(filepath.Join(dir, "netcfg.yml"), []byte("network: {ethernets: {eth0: {}}}"), 0o644))
		s = start(t, dir)
		if text := iproute(t, "address show eth0") + iproute(t, "route"); strings.Contains(text, "192.0.2.2/24") || strings.Contains(text, "default via") {
			t.Errorf("an address or route is left:\n%s", text)
		}
		if text := read(t, dir, "resolv.conf"); text != mark+"nameserver 192.0.2.99\n" {
			t.Errorf("resolv.conf: %q", text)
		}
		if _, err := os.Stat(filepath.Join(dir, "dhcp.json")); err == nil {
			t.Error("leases are asked for")
		}

		// What the kernel refuses is told, and tried again.
		s.write(t, "network: {ethernets: {eth0: {routes: [{to: 10.0.0.0/8, via: 203.0.113.1}]}}}")
		s.until(t, "cannot add route 10.0.0.0/8 via 203.0.113.1 dev eth0")
		iproute(t, "address add 203.0.113.2/24 dev eth0")
		for limit := time.Now().Add(5 * time.Minute); !strings.Contains(iproute(t, "route"), "10.0.0.0/8 via 203.0.113.1"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatal("the route is not added when it is possible")
			}
		}
		s.stop()
	})
}
