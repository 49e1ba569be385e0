package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"keelson/netcfg/lease"
	"keelson/runtime/backoff"
	"keelson/runtime/timeline"
)

// Times of both protocols.
const (
	declineWait = 10 * time.Second // RFC 2131 section 3.1, number 5
	failureWait = 5 * time.Second  // after an error of the kernel
	refusalWait = time.Second      // a server that refuses what it has offered would be asked as fast as it answers
)

// errNoAnswer is returned when no answer came in time.
var errNoAnswer = errors.New("no answer")

// client is the client of one link with a carrier, for one family. One goroutine uses it.
type client struct {
	link  *net.Interface
	store store
	log   *slog.Logger

	state   State
	lease   *lease.Lease  // in use, or to be asked for again; nil: none
	next    lease.Lease   // offered, or acknowledged and not verified yet
	begun   time.Duration // when it began to ask
	problem string        // the last one that was logged
}

// protocol is what DHCP for IPv4 and that for IPv6 do each in its own way.
type protocol interface {
	table() map[State]map[Event]State
	// first returns the state in which a client begins that had a lease, which is nil if there is none
	// and of an earlier boot if it is not current.
	first(had *lease.Lease, current bool) State
	// act does what there is to do in a state in which a lease is asked for, and returns the event
	// that ends it.
	act(ctx context.Context) (Event, error)
	// pause returns the time between an attempt to extend a lease, from 0, and the next one. left is
	// that until the state ends.
	pause(attempt int, left time.Duration) time.Duration
	// extend asks once for more time for the lease in use, of its server or of any by the state.
	extend(ctx context.Context, timeout time.Duration) (Event, error)
	// verify looks whether another machine has the address of the lease that was acknowledged.
	verify(ctx context.Context) (Event, error)
	// configure gives the link what a lease has, and remove takes it from the link.
	configure(l lease.Lease) error
	remove(l lease.Lease) error
	// decline and release tell the server of a lease.
	decline(ctx context.Context, l lease.Lease) error
	release(ctx context.Context, l lease.Lease) error
}

// run asks for a lease and keeps it until ctx ends, as when the carrier is lost.
func (c *client) run(ctx context.Context, p protocol) {
	var current bool
	c.lease, current = c.store.load(c.link.Name)
	c.state = p.first(c.lease, current)
	c.begun = timeline.Now()
	for ctx.Err() == nil {
		event, err := c.step(ctx, p)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.report(err)
			backoff.Wait(ctx, failureWait)
			continue
		}
		before := c.state
		c.state = p.table()[before][event]
		c.log.Debug("the state has changed", "from", string(before), "event", string(event), "to", string(c.state))
		if c.state.begins() {
			c.drop(p, fmt.Sprintf("%s while %s", event, before))
		}
		if event == Nacked && before != Rebooting && before != Confirming {
			backoff.Wait(ctx, refusalWait)
		}
	}
}

// report logs an error, unless it is the last one again.
func (c *client) report(err error) {
	if text := err.Error(); text != c.problem {
		c.problem = text
		c.log.Error("cannot get a lease now; it is tried again", "state", string(c.state), "error", text)
	}
}

// step does what there is to do in a state, and returns the event that ends it.
func (c *client) step(ctx context.Context, p protocol) (Event, error) {
	switch c.state {
	case Probing:
		return c.accept(ctx, p)
	case Declining:
		if err := p.decline(ctx, c.next); err != nil {
			c.report(err)
		}
		backoff.Wait(ctx, declineWait)
		c.begun = timeline.Now()
		return Waited, nil
	case Bound:
		return c.sleep(ctx, T1)
	case Informed:
		return c.sleep(ctx, Refresh)
	case Renewing:
		return c.prolong(ctx, p, c.lease.Rebind, T2)
	case Rebinding:
		return c.prolong(ctx, p, c.lease.Expires, Expired)
	}
	return p.act(ctx)
}

// sleep waits until it is time to ask again, which is the event e.
func (c *client) sleep(ctx context.Context, e Event) (Event, error) {
	if c.lease.Renew == lease.Forever {
		<-ctx.Done()
		return "", ctx.Err()
	}
	if !waitUntil(ctx, c.lease.Renew) {
		return "", errors.New("cannot wait for the time to ask again")
	}
	c.begun = timeline.Now()
	return e, nil
}

// accept verifies the address of the lease that was acknowledged, and uses it.
func (c *client) accept(ctx context.Context, p protocol) (Event, error) {
	if c.lease != nil && c.lease.Address != c.next.Address {
		c.drop(p, "the server gives another address")
	}
	event, err := p.verify(ctx)
	if err != nil || event != Free {
		return event, err
	}
	return event, c.use(p)
}

// use configures the lease that was acknowledged, and tells others.
func (c *client) use(p protocol) error {
	l := c.next
	if err := p.configure(l); err != nil {
		if !configured(c.link, l.Address) {
			return err
		}
		c.report(err) // A route that cannot be, for example: the address serves all the same.
	} else {
		c.problem = ""
	}
	if c.lease == nil || summary(*c.lease) != summary(l) {
		log := c.log
		if l.Server.IsValid() {
			log = log.With("server", l.Server.String())
		}
		log.Info("the link has a lease", "address", summary(l), "for", l.Left(timeline.Now()).Round(time.Second).String())
	}
	c.lease = &l
	if err := c.store.save(l); err != nil {
		c.log.Error("cannot tell others of the lease", "error", err)
	}
	return nil
}

// prolong asks for more time until the time end, at which the event last follows.
func (c *client) prolong(ctx context.Context, p protocol, end time.Duration, last Event) (Event, error) {
	for i := 0; ; i++ {
		now := timeline.Now()
		if now >= end {
			return last, nil
		}
		next := now + min(end-now, p.pause(i, end-now))
		event, err := p.extend(ctx, next-now)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err == nil && event == Acked && c.next.Address != c.lease.Address:
			return Nacked, nil // Neither protocol has such an answer: it begins anew.
		case err == nil && event == Acked:
			return event, c.use(p)
		case err == nil:
			return event, nil
		case !errors.Is(err, errNoAnswer): // The network is unreachable, for example.
			c.report(err)
		}
		if !waitUntil(ctx, next) {
			return "", errors.New("cannot wait for the time to ask again")
		}
	}
}

// drop removes a lease that has ended.
func (c *client) drop(p protocol, why string) {
	if c.lease == nil {
		return
	}
	l := *c.lease
	c.lease = nil
	c.log.Info("the lease has ended, and its address is removed", "address", summary(l), "reason", why)
	err := c.store.forget(c.link.Name)
	if l.Address.IsValid() {
		err = errors.Join(err, p.remove(l))
	}
	if err != nil {
		c.log.Error("cannot remove what a lease has configured", "error", err)
	}
}

// giveBack gives a lease back to its server, and removes its address. The client does not run any more.
func (c *client) giveBack(ctx context.Context, p protocol) {
	if c.lease == nil {
		return
	}
	l := *c.lease
	if holds(l) {
		if err := p.release(ctx, l); err != nil {
			c.log.Warn("the server may not know that the lease is given back", "error", err)
		}
	}
	c.drop(p, "given back")
}
