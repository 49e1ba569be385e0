package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
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

	running  map[string]*runner // by the name of the link
	running6 map[string]*runner6
}

// runner runs the client of a link.
type runner struct {
	*client
	index int
	stop  func() // waits for the end
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
	m.running, m.running6 = map[string]*runner{}, map[string]*runner6{}
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
	known := map[string]*lease.Lease{} // of links without a carrier
	for {
		m.update(ctx, known)
		select {
		case <-ctx.Done():
			m.end()
			return nil
		case <-wake:
			backoff.Wait(ctx, settle)
		}
	}
}

// wanted returns the options of the links that ask for DHCP of IPv4 and of IPv6.
func (m *Manager) wanted() (all, all6 map[string]lease.Options, err error) {
	links := m.Links
	if m.Request != "" {
		r, err := lease.ReadRequest(m.Request)
		if err != nil {
			return nil, nil, err
		}
		links = r.Links
	}
	all, all6 = map[string]lease.Options{}, map[string]lease.Options{}
	for _, l := range links {
		if l.DHCP4 != nil {
			all[l.Name] = *l.DHCP4
		}
		if l.DHCP6 != nil {
			all6[l.Name] = *l.DHCP6
		}
	}
	return all, all6, nil
}

// update starts and ends clients, by the links that there are and those that ask.
func (m *Manager) update(ctx context.Context, known map[string]*lease.Lease) {
	wanted, wanted6, err := m.wanted()
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
	m.update6(ctx, state, links, wanted6)
	for name, r := range m.running {
		l, there := links[name]
		options, asks := wanted[name]
		if there && asks && l.Index == r.index && l.Up && l.Carrier && string(l.MAC) == string(r.link.HardwareAddr) && reflect.DeepEqual(options, r.options) {
			continue
		}
		r.stop()
		delete(m.running, name)
		known[name] = r.lease
		switch {
		case !asks:
			m.giveBack(r.client)
			delete(known, name)
		case !there || l.Index != r.index:
			_ = r.store.forget(name)
			delete(known, name)
		case !l.Carrier:
			r.log.Info("the carrier is lost; the lease is asked for again with it")
		}
	}
	for name, options := range wanted {
		l, there := links[name]
		if m.running[name] == nil && there && l.Up && l.Carrier && len(l.MAC) == 6 {
			m.start(ctx, l, options, known)
		}
	}
}

// start starts the client of a link.
func (m *Manager) start(ctx context.Context, l plan.Link, options lease.Options, known map[string]*lease.Lease) {
	c := &client{
		link: &net.Interface{Index: l.Index, Name: l.Name, MTU: l.MTU, HardwareAddr: l.MAC, Flags: net.FlagUp | net.FlagBroadcast}, options: options, store: store{m.Leases, m.Kept},
		log: m.Log.With("link", l.Name), lease: known[l.Name],
	}
	if c.lease == nil {
		c.lease, _ = c.store.load(l.Name)
	}
	delete(known, l.Name)
	running, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { c.run(running) })
	m.running[l.Name] = &runner{client: c, index: l.Index, stop: func() {
		cancel()
		work.Wait()
	}}
}

// giveBack gives a lease back within a limited time.
func (m *Manager) giveBack(c interface{ release(context.Context) }) {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	c.release(ctx)
}

// end ends all clients. Leases stay for the next Manager, which may be another version of this
// program, except for those that nobody asks for any more.
func (m *Manager) end() {
	wanted, wanted6, err := m.wanted()
	var ending sync.WaitGroup
	for name, r := range m.running6 {
		_, asks := wanted6[name]
		ending.Go(func() {
			r.stop()
			if m.Release || err == nil && !asks {
				m.giveBack(r.client6)
			}
		})
	}
	for name, r := range m.running {
		_, asks := wanted[name]
		ending.Go(func() {
			r.stop()
			if m.Release || err == nil && !asks {
				m.giveBack(r.client)
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
