package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"keelson/netcfg/changes"
	"keelson/netcfg/config"
	"keelson/netcfg/kernel"
	"keelson/netcfg/lease"
	"keelson/netcfg/plan"
	"keelson/runtime/backoff"
	"keelson/runtime/durable"
	"keelson/runtime/network"
	"keelson/runtime/readfile"
	"keelson/runtime/timeline"
)

// Times.
const (
	// settle is the pause after an event: several changes often follow each other.
	settle = 50 * time.Millisecond
	// longestSettle is this pause while changes fail.
	longestSettle = 2 * time.Second
	// firstRetry and longestRetry are the pauses before a change that the kernel has refused
	// is tried again without an event.
	firstRetry, longestRetry = time.Second, time.Minute
	// rounds is how many plans follow each other at once.
	rounds = 5
)

// ownFile has the plan.Own, in Daemon.Dir.
const ownFile = "own.json"

const fileLimit = 1 << 20

// Daemon configures the network. Its fields are set before Run.
type Daemon struct {
	File     string        // the configuration
	Dir      string        // folder of its state
	Leases   string        // folder of leases
	Request  string        // file of requests for leases
	Resolv   string        // resolv.conf
	Hosts    string        // hosts(5)
	Hostname string        // /proc/sys/kernel/hostname
	Static   bool          // the machine has a name of its own
	Extra    config.Config // of the kernel's command line: links that the file does not have
	Kernel   kernel.Kernel
	Log      *slog.Logger
	Report   func(text string) // to the journal of events
	Ready    func()            // called once, after the first round

	mu   sync.Mutex // of want
	want config.Config

	own    plan.Own
	status network.Daemon
	seen   snapshot
	base   *resolver // of resolv.conf before the first write
	failed map[string]bool

	written map[string]string // what files have, by their names
}

// Run configures the network until ctx ends. reload orders to read the file again.
func (d *Daemon) Run(ctx context.Context, reload <-chan struct{}) error {
	if err := errors.Join(os.MkdirAll(d.Leases, 0o755), d.readOwn()); err != nil {
		return err
	}
	d.failed, d.written = map[string]bool{}, map[string]string{}
	d.load()
	wake := make(chan struct{}, 1)
	poke := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	stop, err := changes.Watch(d.Leases, poke)
	if err != nil {
		return err
	}
	defer stop()
	failures := 0
	for {
		d.round()
		if d.Ready != nil {
			d.Ready()
			d.Ready = nil
		}
		pause := time.Duration(1<<63 - 1)
		if failures++; len(d.status.Failed) == 0 {
			failures = 0
		} else {
			pause = backoff.Delay(failures, firstRetry, longestRetry)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-reload:
			d.load()
		case <-wake:
			// Changes that the kernel refuses in part are events too.
			backoff.Wait(ctx, backoff.Delay(failures, settle, longestSettle))
		}
		timer.Stop()
	}
}

// load reads the configuration. With errors, the one before stays.
func (d *Daemon) load() {
	d.status.File, d.status.Errors, d.status.Notes = d.File, nil, nil
	text, err := readfile.Limited(d.File, config.Limit)
	if errors.Is(err, fs.ErrNotExist) {
		d.Log.Info("there is no configuration", "file", d.File)
		text, err = nil, nil
	}
	var c config.Config
	if err == nil {
		c, err = config.Parse(text, d.File)
	}
	if err != nil {
		d.status.Errors = lines(err)
		for _, line := range d.status.Errors {
			d.Log.Error("the configuration is not used; the network stays as it is", "error", line)
			d.Report("the configuration is not used: " + line)
		}
		return
	}
	c = merge(c, d.Extra)
	d.status.Notes = slices.Concat(c.Notes, d.Extra.Notes)
	for _, note := range d.status.Notes {
		d.Log.Info("a field has no effect", "field", note)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.want = c
}

// lines returns the errors that errors.Join has joined.
func lines(err error) (all []string) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, lines(e)...)
		}
		return all
	}
	return []string{err.Error()}
}

// readOwn reads the record of an earlier service.
func (d *Daemon) readOwn() error {
	d.own = plan.NewOwn()
	_, err := readfile.JSON(filepath.Join(d.Dir, ownFile), fileLimit, &d.own)
	if err != nil { // Nothing is removed then that it does not know.
		d.Log.Error("the record of what was configured is lost", "error", err)
	}
	for _, m := range []*map[string]string{&d.own.Links, &d.own.Ports} {
		if *m == nil {
			*m = map[string]string{}
		}
	}
	if d.own.Addresses == nil {
		d.own = plan.Own{Links: d.own.Links, Ports: d.own.Ports, Addresses: plan.NewOwn().Addresses}
	}
	return nil
}

// writeJSON replaces a file of the service, if its content changes.
func (d *Daemon) writeJSON(name string, mode fs.FileMode, v any) {
	text, err := json.Marshal(v)
	if err == nil && d.written[name] == string(text) {
		return
	}
	if err == nil {
		err = durable.Replace(filepath.Join(d.Dir, name), text, mode)
	}
	if err == nil {
		d.written[name] = string(text)
	}
	if err != nil {
		d.Log.Error("cannot write the state of the network service", "error", err)
	}
}

// current returns the configuration.
func (d *Daemon) current() config.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.want
}

// round makes the network as it is to be, as far as that is possible now.
func (d *Daemon) round() {
	want := d.current()
	var p plan.Result
	failures := map[string]string{} // by change
	var state plan.State
	for range rounds {
		var err error
		if state, err = d.Kernel.Read(); err != nil {
			d.Log.Error("cannot read the state of the network", "error", err)
			failures["read"] = err.Error()
			break
		}
		d.own.Prune(state)
		p = plan.Plan(want, state, d.own)
		clear(failures)
		if !d.apply(p.Changes, failures) {
			break
		}
	}
	d.report(failures)
	d.request(want, p)
	leases, err := lease.ReadAll(d.Leases)
	if err != nil {
		d.Log.Error("cannot read leases", "error", err)
	}
	leases = valid(leases, timeline.Now())
	d.names(want, p, leases)
	d.observe(p, state, leases)
	now := d.status
	now.Failed, now.Missing, now.Problems = slices.Sorted(maps.Values(failures)), p.Missing, p.Problems
	if !same(now, d.status) || now.Since.IsZero() {
		now.Since = time.Now().UTC()
	}
	d.status = now
	d.writeJSON(filepath.Base(network.StatusFile), 0o644, d.status)
}

// ending is how long before its end a lease does not count any more. What follows is done at an event: the
// kernel removes the address up to a second before, or shortly after.
const ending = 2 * time.Second

// valid returns the leases that have not ended. The client keeps one whose link has no carrier, to ask for it
// again.
func valid(leases []lease.Lease, now time.Duration) []lease.Lease {
	return slices.DeleteFunc(leases, func(l lease.Lease) bool { return l.Left(now) < ending })
}

// same reports whether two states have the same content.
func same(a, b network.Daemon) bool {
	return slices.Equal(a.Failed, b.Failed) && slices.Equal(a.Missing, b.Missing) && slices.Equal(a.Problems, b.Problems) && slices.Equal(a.Errors, b.Errors)
}

// apply makes changes, and collects the errors. It reports whether one has succeeded.
func (d *Daemon) apply(changes []plan.Change, failures map[string]string) bool {
	done := false
	for _, c := range changes {
		d.own.Before(c)
		d.writeJSON(ownFile, 0o600, d.own)
		if err := d.Kernel.Apply(c); err != nil {
			failures[c.String()] = err.Error()
			continue
		}
		d.own.After(c)
		d.writeJSON(ownFile, 0o600, d.own)
		d.Log.Info(c.String())
		done = true
	}
	return done
}

// report tells of changes that fail, once each until they succeed.
func (d *Daemon) report(failures map[string]string) {
	for _, change := range slices.Sorted(maps.Keys(failures)) {
		if !d.failed[change] {
			d.Log.Error("a change has failed and is tried again", "error", failures[change])
			d.Report(failures[change])
		}
	}
	clear(d.failed)
	for change := range failures {
		d.failed[change] = true
	}
}

// request says which links ask for leases.
func (d *Daemon) request(want config.Config, p plan.Result) {
	var r lease.Request
	for _, w := range want.Links {
		if !w.DHCP4.Enabled && !w.DHCP6.Enabled || w.Activation == config.Off {
			continue
		}
		for _, name := range p.Links[w.ID] {
			r.Links = append(r.Links, lease.Link{Name: name, DHCP4: options(w.DHCP4), DHCP6: options(w.DHCP6)})
		}
	}
	if err := lease.WriteRequest(d.Request, r); err != nil {
		d.Log.Error("no DHCP client is asked for leases", "error", err)
	}
}

func options(o config.DHCP) *lease.Options {
	if !o.Enabled {
		return nil
	}
	return &lease.Options{Identifier: o.Identifier, ClientID: o.ClientID, Metric: o.Metric, UseRoutes: o.UseRoutes, UseMTU: o.UseMTU, SendHostname: o.SendHostname, Hostname: o.Hostname, Prefixes: o.Prefixes}
}
