package dhcp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"keelson/netcfg/lease"
	"keelson/runtime/backoff"
	"keelson/runtime/timeline"
)

// Times of RFC 8415 section 7.6, except for the longest pauses: a server that comes late would be found
// after an hour. One that wants longer ones says so (options 82 and 83).
const (
	firstTimeout6   = time.Second
	longestTimeout6 = 60 * time.Second
	longestConfirm  = 4 * time.Second
	confirms        = 3 // attempts in Confirming and Rebooting: 7 s, in place of 10
	requests6       = 10
	firstExtend     = 10 * time.Second
	longestExtend   = 600 * time.Second
	duplicateLimit  = 10 * time.Second // how long the kernel may take to verify an address
)

// gather is how long other servers may take to offer after the first one. RFC 8415 section 18.2.1 has a
// second from the question, for which no machine waits here.
const gather = 200 * time.Millisecond

// client6 is the client for IPv6 of one link.
type client6 struct {
	client
	identity identity6
	inform   bool        // ask for information only
	offer    dhcpv6.DUID // of the server
	maxima   maxima
}

func (c *client6) table() map[State]map[Event]State { return Table6 }

func (c *client6) first(had *lease.Lease, current bool) State {
	switch {
	case c.inform:
		return Informing
	case had == nil || !c.identity.covered(*had):
		return Soliciting
	case !current:
		return Rebooting
	case had.Left(timeline.Now()) == 0:
		return Soliciting
	}
	return Confirming
}

func (c *client6) act(ctx context.Context) (Event, error) {
	switch c.state {
	case Confirming:
		return c.confirm(ctx)
	case Rebooting:
		return c.reboot(ctx)
	case Soliciting:
		return c.solicit(ctx)
	case Requesting:
		return c.request(ctx)
	case Informing:
		return c.information(ctx)
	}
	return "", fmt.Errorf("there is no state %q", c.state)
}

// timeout6 returns the time to wait for an answer to an attempt, from 0 (RFC 8415 section 15).
func timeout6(attempt int, first, longest time.Duration) time.Duration {
	d := backoff.Delay(attempt+1, first, longest)
	return d + time.Duration((rand.Float64()*2-1)*float64(d)/10)
}

// ask sends a message, and returns the first reply that is accepted.
func (c *client6) ask(ctx context.Context, timeout time.Duration, kind dhcpv6.MessageType, had *lease.Lease, server dhcpv6.DUID) (*dhcpv6.Message, error) {
	m, err := c.identity.message(kind, timeline.Now()-c.begun, had, server)
	if err != nil {
		return nil, err
	}
	return exchange6(ctx, c.link, m, timeout, func(a *dhcpv6.Message) bool {
		return a.MessageType == dhcpv6.MessageTypeReply && c.identity.isFor(a)
	})
}

// confirm asks whether the addresses that the link had fit it (section 18.2.3), or any server to extend
// the lease if it has prefixes (section 18.2.12). Without an answer, the lease is used as long as it is
// valid.
func (c *client6) confirm(ctx context.Context) (Event, error) {
	for i := range confirms {
		kind := dhcpv6.MessageTypeConfirm
		if len(c.lease.Prefixes) > 0 {
			kind = dhcpv6.MessageTypeRebind
		}
		answer, err := c.ask(ctx, timeout6(i, firstTimeout6, longestConfirm), kind, c.lease, nil)
		switch {
		case errors.Is(err, errNoAnswer):
			continue
		case err != nil:
			return "", err
		case kind == dhcpv6.MessageTypeRebind:
			if event := c.extended(answer); event == Acked {
				return event, nil
			} else if event != "" {
				return Nacked, nil
			}
			continue
		case refused(answer.Options.Status()) != nil:
			c.report(fmt.Errorf("the address does not fit the link: %w", refused(answer.Options.Status())))
			return Nacked, nil
		}
		c.next = *c.lease
		return Acked, nil
	}
	c.next = *c.lease
	return TimedOut, nil
}

// reboot asks any server to extend the lease of an earlier boot, whose times mean nothing now.
func (c *client6) reboot(ctx context.Context) (Event, error) {
	for i := range confirms {
		event, err := c.extend(ctx, timeout6(i, firstTimeout6, longestConfirm))
		if !errors.Is(err, errNoAnswer) {
			return event, err
		}
	}
	return TimedOut, nil
}

// solicit asks for offers, and takes that of the server with the highest preference, or the lease that a
// server gives at once (Rapid Commit).
func (c *client6) solicit(ctx context.Context) (Event, error) {
	for i := 0; ; i++ {
		m, err := c.identity.message(dhcpv6.MessageTypeSolicit, timeline.Now()-c.begun, c.lease, nil)
		if err != nil {
			return "", err
		}
		o := offers6{client: c}
		limited, cancel := context.WithCancel(ctx)
		o.enough = cancel
		_, err = exchange6(limited, c.link, m, timeout6(i, firstTimeout6, c.maxima.solicit), o.take)
		o.stop()
		cancel()
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case o.best != nil:
			c.offer, c.next = o.best.Options.ServerID(), o.lease
			if o.best.MessageType == dhcpv6.MessageTypeReply {
				return Acked, nil
			}
			return Offered, nil
		case !errors.Is(err, errNoAnswer):
			return "", err
		case i == 3:
			c.report(errors.New("no DHCP server answers with an address or prefix"))
		}
	}
}

// offers6 gathers the answers to one Solicit. One goroutine uses it.
type offers6 struct {
	client *client6
	enough func() // ends the exchange
	timer  *time.Timer
	best   *dhcpv6.Message
	lease  lease.Lease // of best
}

// take takes an answer, and reports whether there is no need to wait for another one (RFC 8415 section
// 18.2.9).
func (o *offers6) take(a *dhcpv6.Message) bool {
	c := o.client
	if !c.identity.isFor(a) {
		return false
	}
	c.maxima.take(a)
	reply := a.MessageType == dhcpv6.MessageTypeReply
	if reply && a.GetOneOption(dhcpv6.OptionRapidCommit) == nil || !reply && a.MessageType != dhcpv6.MessageTypeAdvertise {
		return false
	}
	l, err := leaseOf6(c.link.Name, c.identity, a, timeline.Now())
	if err != nil {
		return false
	}
	if reply || o.best == nil || preference(a) > preference(o.best) {
		o.best, o.lease = a, l
	}
	if o.timer == nil {
		o.timer = time.AfterFunc(gather, o.enough)
	}
	return reply || preference(a) == highestPreference
}

func (o *offers6) stop() {
	if o.timer != nil {
		o.timer.Stop()
	}
}

func (c *client6) request(ctx context.Context) (Event, error) {
	offered := c.next
	for i := range requests6 {
		answer, err := c.ask(ctx, timeout6(i, firstTimeout6, 30*time.Second), dhcpv6.MessageTypeRequest, &offered, c.offer)
		if errors.Is(err, errNoAnswer) {
			continue
		}
		if err != nil {
			return "", err
		}
		l, err := leaseOf6(c.link.Name, c.identity, answer, timeline.Now())
		if err != nil {
			c.report(fmt.Errorf("the server gives no lease: %w", err))
			return Nacked, nil
		}
		c.next = l
		return Acked, nil
	}
	return TimedOut, nil
}

// extend asks once for more time.
func (c *client6) extend(ctx context.Context, timeout time.Duration) (Event, error) {
	kind, server := dhcpv6.MessageTypeRebind, dhcpv6.DUID(nil)
	if c.state == Renewing {
		var err error
		if server, err = dhcpv6.DUIDFromBytes(c.lease.ServerID); err == nil {
			kind = dhcpv6.MessageTypeRenew
		} else {
			server = nil // Any may extend it then.
		}
	}
	answer, err := c.ask(ctx, timeout, kind, c.lease, server)
	if err != nil {
		return "", err
	}
	event := c.extended(answer)
	if event == "" {
		c.report(errors.New("the server does not extend the lease now"))
		return "", errNoAnswer
	}
	return event, nil
}

// extended returns the event of an answer to Renew or Rebind (section 18.2.10.1); none if the server
// neither extends nor ends the lease.
func (c *client6) extended(answer *dhcpv6.Message) Event {
	l, err := leaseOf6(c.link.Name, c.identity, answer, timeline.Now())
	switch {
	case notBound(answer) && answer.Options.ServerID() != nil:
		c.offer, c.next = answer.Options.ServerID(), *c.lease
		return Unbound
	case ended(answer, *c.lease):
		c.log.Info("the server ends the lease", "reason", fmt.Sprint(err))
		return Nacked
	case err != nil || c.lease.Address.IsValid() && !l.Address.IsValid() || len(c.lease.Prefixes) > 0 && len(l.Prefixes) == 0:
		return ""
	}
	c.next = l
	return Acked
}

func (c *client6) pause(attempt int, left time.Duration) time.Duration {
	return max(time.Second, min(left/2, timeout6(attempt, firstExtend, longestExtend)))
}

func (c *client6) information(ctx context.Context) (Event, error) {
	for i := 0; ; i++ {
		answer, err := c.ask(ctx, timeout6(i, firstTimeout6, c.maxima.information), dhcpv6.MessageTypeInformationRequest, nil, nil)
		if errors.Is(err, errNoAnswer) {
			continue
		}
		if err != nil {
			return "", err
		}
		c.maxima.take(answer)
		if c.next, err = informationOf(c.link.Name, answer, timeline.Now()); err != nil {
			return "", err
		}
		return Acked, c.use(c)
	}
}

// verify configures the address, and waits until the kernel has verified it.
func (c *client6) verify(ctx context.Context) (Event, error) {
	if !c.next.Address.IsValid() {
		return Free, nil
	}
	if err := c.configure(c.next); err != nil {
		return "", err
	}
	duplicate, err := verified(ctx, c.link, c.next.Address, duplicateLimit)
	if err != nil || !duplicate {
		return Free, err
	}
	c.log.Error("another machine has the address of the lease, which is declined", "address", c.next.Address.Addr().String())
	return Conflict, c.remove(c.next)
}

func (c *client6) configure(l lease.Lease) error {
	if !l.Address.IsValid() {
		return nil
	}
	return configure6(c.link, l, timeline.Now())
}

func (c *client6) remove(l lease.Lease) error { return remove6(c.link, l) }

func (c *client6) decline(ctx context.Context, l lease.Lease) error {
	return c.tell(ctx, dhcpv6.MessageTypeDecline, lease.Lease{Address: l.Address, ServerID: l.ServerID})
}

// release takes the address from the link first (section 18.2.7).
func (c *client6) release(ctx context.Context, l lease.Lease) error {
	var err error
	if l.Address.IsValid() {
		err = c.remove(l)
	}
	return errors.Join(err, c.tell(ctx, dhcpv6.MessageTypeRelease, l))
}

// tell sends a message about a lease whose reply does not matter.
func (c *client6) tell(ctx context.Context, kind dhcpv6.MessageType, l lease.Lease) error {
	server, err := dhcpv6.DUIDFromBytes(l.ServerID)
	if err == nil {
		c.begun = timeline.Now()
		_, err = c.ask(ctx, firstTimeout6, kind, &l, server)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}
