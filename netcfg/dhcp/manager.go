package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keelson/netcfg/changes"
	"keelson/netcfg/kernel"
	"keelson/netcfg/lease"
	"keelson/netcfg/plan"
	"keelson/runtime/backoff"
)

const (
	// settle is the pause after an event: several often follow each other.
	settle = 20 * time.Millisecond
	// stopLimit is how long the end may take in which leases are given back.
	stopLimit = 3 * time.Second
)

// Manager gets leases for links. Its fields are set before Run.
type Manager struct {
	Request string       // file of the links that ask; empty: Links
	Links   []lease.Link // that ask
	Leases  string       // folder of leases
	Kept    string       // folder of leases that outlive a reboot; empty: none
	Release bool         // give leases back at the end
	Log     *slog.Logger

	running map[key]*runner
}

// key is a link and a family.
type key struct {
	link   string
	family int
}

// runner runs the client of a link.
type runner struct {
	*client
	protocol protocol
	want     want
	stop     func() // waits for the end
}

// want is what a client is started for. A client ends when that changes.
type want struct {
	index   int
	mac     string
	options lease.Options
	asks    asks6 // IPv6
}

// Run gets leases until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	if err := os.MkdirAll(m.Leases, 0o755); err != nil {
		return err
	}
	if m.Kept != "" {
		if err := os.MkdirAll(m.Kept, 0o755); err != nil {
			m.Log.Warn("leases are not kept over a reboot", "error", err)
			m.Kept = ""
		}
	}
	m.running = map[key]*runner{}
	wake := make(chan struct{}, 1)
	folder := ""
	if m.Request != "" {
		folder = filepath.Dir(m.Request)
	}
	stop, err := changes.Watch(folder, func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	for {
		m.update(ctx)
		select {
		case <-ctx.Done():
			m.end()
			return nil
		case <-wake:
			backoff.Wait(ctx, settle)
		}
	}
}

// wanted returns the options of the links that ask for DHCP.
func (m *Manager) wanted() (map[key]lease.Options, error) {
	links := m.Links
	if m.Request != "" {
		r, err := lease.ReadRequest(m.Request)
		if err != nil {
			return nil, err
		}
		links = r.Links
	}
	all := map[key]lease.Options{}
	for _, l := range links {
		if l.DHCP4 != nil {
			all[key{l.Name, 4}] = *l.DHCP4
		}
		if l.DHCP6 != nil {
			all[key{l.Name, 6}] = *l.DHCP6
		}
	}
	return all, nil
}

// update starts and ends clients, by the links that there are and those that ask.
func (m *Manager) update(ctx context.Context) {
	wanted, err := m.wanted()
	if err != nil {
		m.Log.Error("cannot read which links ask for leases; those of before stay", "error", err)
		return
	}
	state, err := kernel.Links()
	if err != nil {
		m.Log.Error("cannot read the links", "error", err)
		return
	}
	links := map[string]plan.Link{}
	for _, l := range state.Links {
		links[l.Name] = l
	}
	for k, r := range m.running {
		l, there := links[k.link]
		options, asks := wanted[k]
		there = there && l.Index == r.want.index
		if there && asks && l.Up && l.Carrier && m.wants(k, l, options) == r.want {
			continue
		}
		r.stop()
		delete(m.running, k)
		switch {
		case !asks:
			r.end()
		case !there:
			_ = r.store.forget(k.link)
		case !l.Carrier:
			r.log.Info("the carrier is lost; the lease is asked for again with it")
		}
	}
	for k, options := range wanted {
		l, there := links[k.link]
		if m.running[k] != nil || !there || !l.Up || !l.Carrier || len(l.MAC) != 6 || k.family == 6 && !linkLocal(state, l.Index) {
			continue
		}
		if w := m.wants(k, l, options); k.family == 4 || w.asks != (asks6{}) {
			m.start(ctx, k, l, w)
		}
	}
}

// wants returns what a client of a link is started for.
func (m *Manager) wants(k key, l plan.Link, options lease.Options) want {
	w := want{index: l.Index, mac: string(l.MAC), options: options}
	if k.family == 6 {
		managed, other := advertised(l.Index)
		// An address that a client has stays, also if routers do not speak of it any more.
		r := m.running[k]
		w.asks = asksOf(managed || r != nil && r.want.asks.address, other, options)
	}
	return w
}

// start starts the client of a link.
func (m *Manager) start(ctx context.Context, k key, l plan.Link, w want) {
	base := client{
		link:  &net.Interface{Index: l.Index, Name: l.Name, MTU: l.MTU, HardwareAddr: l.MAC, Flags: net.FlagUp | net.FlagBroadcast | net.FlagMulticast},
		store: store{m.Leases, m.Kept, k.family}, log: m.Log.With("link", l.Name, "family", k.family),
	}
	r := &runner{want: w}
	if k.family == 4 {
		c := &client4{client: base, options: w.options}
		r.protocol, r.client = c, &c.client
	} else {
		c := &client6{client: base, identity: newIdentity6(l.MAC, w.asks.address, w.asks.prefixes), inform: w.asks.information, maxima: maxima{longestTimeout6, longestTimeout6}}
		r.protocol, r.client = c, &c.client
	}
	running, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { r.run(running, r.protocol) })
	r.stop = func() {
		cancel()
		work.Wait()
	}
	m.running[k] = r
}

// end gives the lease back within a limited time.
func (r *runner) end() {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	r.giveBack(ctx, r.protocol)
}

// end ends all clients. Leases stay for the next Manager, which may be another version of this
// program, except for those that nobody asks for any more.
func (m *Manager) end() {
	wanted, err := m.wanted()
	var ending sync.WaitGroup
	for k, r := range m.running {
		_, asks := wanted[k]
		ending.Go(func() {
			r.stop()
			if m.Release || err == nil && !asks {
				r.end()
			}
		})
	}
	ending.Wait()
}

// Standalone returns links that ask for leases with the usual options.
func Standalone(names []string) ([]lease.Link, error) {
	var all []lease.Link
	for _, name := range names {
		if name == "" || len(name) >= unix.IFNAMSIZ {
			return nil, fmt.Errorf("%q is no name of a link", name)
		}
		all = append(all, lease.Link{Name: name, DHCP4: &lease.Options{Metric: 100, UseRoutes: true, UseMTU: true, SendHostname: true}})
	}
	if len(all) == 0 {
		return nil, errors.New("no link is named")
	}
	return all, nil
}
