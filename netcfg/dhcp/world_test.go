package dhcp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/netcfg/kernel"
	"keelson/netcfg/lease"
	"keelson/testvm/tier"
)

// world has a server's network namespace, called "server", with a link for each client.
type world struct {
	t   *testing.T
	dir string
}

// newWorld makes it. The client's links are eth0, eth1, ….
func newWorld(t *testing.T, links int) *world {
	t.Helper()
	tier.Tool(t, "ip", "iproute2")
	w := &world{t, t.TempDir()}
	must(t, os.MkdirAll("/run/netns", 0o755))
	run(t, "mount -t tmpfs tmpfs /run")
	run(t, "ip netns add server")
	run(t, "ip netns exec server ip link add br0 type bridge")
	run(t, "ip netns exec server ip link set br0 up")
	run(t, "ip netns exec server ip address add 192.0.2.1/24 dev br0")
	run(t, "ip netns exec server ip link set lo up")
	for i := range links {
		run(t, fmt.Sprintf("ip link add eth%d type veth peer name far%d netns server", i, i))
		run(t, fmt.Sprintf("ip netns exec server ip link set far%d master br0 up", i))
		run(t, fmt.Sprintf("ip link set eth%d up", i))
	}
	return w
}

// program starts a server. It is killed at the end of the test.
func (w *world) program(line string) *exec.Cmd {
	w.t.Helper()
	c := exec.Command("ip", append([]string{"netns", "exec", "server"}, strings.Fields(line)...)...)
	out, err := os.Create(filepath.Join(w.dir, "server.log"))
	must(w.t, err)
	c.Stdout, c.Stderr = out, out
	must(w.t, c.Start())
	w.t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return c
}

// dnsmasq starts it with options.
func (w *world) dnsmasq(options string) *exec.Cmd {
	tier.Tool(w.t, "dnsmasq", "dnsmasq-base")
	return w.program("dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --log-dhcp --log-facility=- --user=root --no-ping --dhcp-leasefile=" + filepath.Join(w.dir, "leases.dnsmasq") + " --dhcp-authoritative --pid-file= " + options)
}

// kea starts Debian's kea, whose leases may be as short as seconds.
func (w *world) kea(subnet string) *exec.Cmd {
	tier.Tool(w.t, "kea-dhcp4", "kea-dhcp4-server")
	file := filepath.Join(w.dir, "kea.json")
	must(w.t, os.WriteFile(file, []byte(`{"Dhcp4": {"interfaces-config": {"interfaces": ["br0"], "dhcp-socket-type": "raw"}, "lease-database": {"type": "memfile", "persist": false},
		"authoritative": true, "loggers": [{"name": "kea-dhcp4", "output_options": [{"output": "stdout"}], "severity": "INFO"}], "subnet4": [`+subnet+`]}}`), 0o644))
	must(w.t, os.MkdirAll("/run/kea", 0o755))
	return w.program("env KEA_LOCKFILE_DIR=" + w.dir + " KEA_PIDFILE_DIR=" + w.dir + " kea-dhcp4 -c " + file)
}

// manager starts a Manager for links. stop ends it.
func (w *world) manager(links ...string) (stop func()) {
	w.t.Helper()
	all, err := Standalone(links)
	must(w.t, err)
	return w.start(&Manager{Links: all})
}

func (w *world) start(m *Manager) (stop func()) {
	m.Leases, m.Kept = filepath.Join(w.dir, "leases"), filepath.Join(w.dir, "kept")
	log, err := os.OpenFile(filepath.Join(w.dir, "client.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(w.t, err)
	m.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	}
}

// until waits for something that an event of the network or of a file brings.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	for limit := time.Now().Add(5 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			client, _ := os.ReadFile(filepath.Join(w.dir, "client.log"))
			server, _ := os.ReadFile(filepath.Join(w.dir, "server.log"))
			w.t.Fatalf("%s: not within five minutes\nclient:\n%s\nserver:\n%s", what, client, server)
		}
	}
}

func (w *world) lease(link string) *lease.Lease {
	l, known, err := lease.Read(filepath.Join(w.dir, "leases"), link, 4)
	if err != nil || !known {
		return nil
	}
	return &l
}

func (w *world) log() string {
	text, _ := os.ReadFile(filepath.Join(w.dir, "client.log"))
	return string(text)
}

// logs waits until the client has logged a text so many times.
func (w *world) logs(text string, times int) {
	w.t.Helper()
	w.until(text, func() bool { return strings.Count(w.log(), text) >= times })
}

func addressesOf(t *testing.T, link string) (all []netip.Prefix) {
	t.Helper()
	state, err := kernel.Links()
	must(t, err)
	for _, l := range state.Links {
		for _, a := range state.Addresses {
			if l.Name == link && a.Link == l.Index && a.Prefix.Addr().Is4() {
				all = append(all, a.Prefix)
			}
		}
	}
	return all
}
