package dhcp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"keelson/netcfg/lease"
	"keelson/runtime/backoff"
	"keelson/runtime/durable"
	"keelson/runtime/timeline"
)

// Times.
const (
	firstTimeout   = 4 * time.Second  // RFC 2131 section 4.1, each with a random second
	longestTimeout = 64 * time.Second // the same
	requests       = 4                // attempts in Requesting
	reboots        = 2                // attempts in Rebooting
	declineWait    = 10 * time.Second // section 3.1, number 5
	failureWait    = 5 * time.Second  // after an error of the kernel
	shortestRenew  = 60 * time.Second // between attempts in Renewing and Rebinding, section 4.4.5
)

// client is the client of one link with a carrier. One goroutine uses it.
type client struct {
	link    *net.Interface
	options lease.Options
	store   store
	log     *slog.Logger

	state   State
	lease   *lease.Lease // in use, or to be asked for again; nil: none
	next    lease.Lease  // acknowledged, and not verified yet
	offer   *dhcpv4.DHCPv4
	secs    time.Duration // when it began to ask
	problem string        // the last one that was logged
}

// store keeps leases in files.
type store struct {
	dir  string // for others, until the reboot
	kept string // over a reboot; empty: nowhere
}

// load returns the last lease of a link; nil if there is none. One of an earlier boot can be asked
// for again, and its times mean nothing.
func (s store) load(link string) (l *lease.Lease, current bool) {
	if got, known, err := lease.Read(s.dir, link, 4); err == nil && known && got.Address.Addr().Is4() {
		return &got, true
	}
	if got, known, err := lease.Read(s.kept, link, 4); s.kept != "" && err == nil && known && got.Address.Addr().Is4() {
		return &got, false
	}
	return nil, false
}

// save keeps a lease. What is kept over a reboot is a help only.
func (s store) save(l lease.Lease) error {
	err := lease.Write(s.dir, l, durable.Replace)
	if s.kept != "" {
		if old, known, readErr := lease.Read(s.kept, l.Link, 4); readErr != nil || !known || old.Address != l.Address || old.Server != l.Server {
			_ = lease.Write(s.kept, l, durable.WriteFile)
		}
	}
	return err
}

// forget removes a lease that has ended or was given back.
func (s store) forget(link string) error {
	err := lease.Remove(s.dir, link, 4)
	if s.kept != "" {
		_ = lease.Remove(s.kept, link, 4)
	}
	return err
}

// run asks for a lease and keeps it until ctx ends, as when the carrier is lost.
func (c *client) run(ctx context.Context) {
	c.state = Selecting
	if c.lease != nil {
		c.state = Rebooting
	}
	c.secs = timeline.Now()
	for ctx.Err() == nil {
		event, err := c.act(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.report(err)
			backoff.Wait(ctx, failureWait)
			continue
		}
		before := c.state
		c.state = Table[before][event]
		c.log.Debug("the state has changed", "from", string(before), "event", string(event), "to", string(c.state))
		if before.holds() && !c.state.holds() {
			c.drop(fmt.Sprintf("%s while %s", event, before))
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

// act does what there is to do in a state, and returns the event that ends it.
func (c *client) act(ctx context.Context) (Event, error) {
	switch c.state {
	case Rebooting:
		return c.reboot(ctx)
	case Selecting:
		return c.selectOffer(ctx)
	case Requesting:
		return c.request(ctx)
	case Probing:
		return c.verify(ctx)
	case Declining:
		return c.decline(ctx)
	case Bound:
		return c.bound(ctx)
	case Renewing:
		return c.extend(ctx, c.lease.Server, c.lease.Rebind, T2)
	case Rebinding:
		return c.extend(ctx, netip.Addr{}, c.lease.Expires, Expired)
	}
	return "", fmt.Errorf("there is no state %q", c.state)
}

func (c *client) identity() identity {
	i := identity{mac: c.link.HardwareAddr}
	if id, err := hex.DecodeString(c.options.ClientID); err == nil && len(id) > 0 {
		i.id = id
	} else if c.options.Identifier == "mac" {
		i.id = append([]byte{1}, c.link.HardwareAddr...) // Type of Ethernet (RFC 2132 section 9.14).
	} else {
		i.id = identifier(c.link.HardwareAddr)
	}
	if c.options.SendHostname {
		i.hostname = c.options.Hostname
		if name, err := os.Hostname(); i.hostname == "" && err == nil && name != "(none)" && name != "localhost" {
			i.hostname = name
		}
		if len(i.hostname) > hostnameLimit {
			i.hostname = ""
		}
	}
	return i
}

// identifier returns the client identifier of RFC 4361 section 6.1: an IAID, here the end of the
// address, and a DUID-LL (RFC 8415 section 11.4), so that the machine has the same one after each
// boot.
func identifier(mac net.HardwareAddr) []byte {
	if len(mac) < 4 {
		return nil
	}
	id := append([]byte{255}, mac[len(mac)-4:]...)
	return append(append(id, 0, 3, 0, 1), mac...)
}

// timeout returns the time to wait for an answer to an attempt, from 0.
func timeout(attempt int) time.Duration {
	d := backoff.Delay(attempt+1, firstTimeout, longestTimeout)
	return d + time.Duration((rand.Float64()*2-1)*float64(time.Second))
}

// elapsed is the field secs of a message.
func (c *client) elapsed() dhcpv4.Modifier {
	s := min(max(0, (timeline.Now()-c.secs)/time.Second), 1<<16-1)
	return func(m *dhcpv4.DHCPv4) { m.NumSeconds = uint16(s) }
}

// ask sends a message until there is an answer or enough attempts were made; without a limit if
// attempts is 0.
func (c *client) ask(ctx context.Context, attempts int, kind dhcpv4.MessageType, accepts func(*dhcpv4.DHCPv4) bool, options ...dhcpv4.Modifier) (*dhcpv4.DHCPv4, error) {
	for i := 0; attempts == 0 || i < attempts; i++ {
		m, err := c.identity().message(kind, append(options, c.elapsed())...)
		if err != nil {
			return nil, err
		}
		answer, err := exchange(ctx, c.link, netip.Addr{}, netip.Addr{}, m, timeout(i), accepts)
		if !errors.Is(err, errNoAnswer) {
			return answer, err
		}
		if attempts == 0 && i == 1 {
			c.report(errors.New("no DHCP server answers"))
		}
	}
	return nil, errNoAnswer
}

func (c *client) selectOffer(ctx context.Context) (Event, error) {
	offer, err := c.ask(ctx, 0, dhcpv4.MessageTypeDiscover, func(m *dhcpv4.DHCPv4) bool {
		return m.MessageType() == dhcpv4.MessageTypeOffer && address(m.YourIPAddr).IsValid() && address(m.ServerIdentifier()).IsValid()
	})
	if err != nil {
		return "", err
	}
	c.offer = offer
	return Offered, nil
}

// answers accepts an ACK or a NAK, of one server if it is valid.
func answers(server netip.Addr) func(*dhcpv4.DHCPv4) bool {
	return func(m *dhcpv4.DHCPv4) bool {
		t := m.MessageType()
		return (t == dhcpv4.MessageTypeAck || t == dhcpv4.MessageTypeNak) && (!server.IsValid() || address(m.ServerIdentifier()) == server)
	}
}

// answered returns the event of an answer to a request.
func (c *client) answered(answer *dhcpv4.DHCPv4, err error) (Event, error) {
	switch {
	case errors.Is(err, errNoAnswer):
		return TimedOut, nil
	case err != nil:
		return "", err
	case answer.MessageType() == dhcpv4.MessageTypeNak:
		c.log.Info("the server refuses the address", "server", answer.ServerIdentifier().String(), "reason", name(answer.Message()))
		c.forgetLease()
		return Nacked, nil
	}
	l, err := leaseOf(c.link.Name, answer, timeline.Now())
	if err != nil {
		c.report(fmt.Errorf("the lease of %s cannot be used: %w", answer.ServerIdentifier(), err))
		return Nacked, nil
	}
	c.next = l
	return Acked, nil
}

// forgetLease forgets a lease that was to be asked for again.
func (c *client) forgetLease() {
	if c.lease != nil && !c.state.holds() {
		c.drop("the server refuses it")
	}
}

func (c *client) request(ctx context.Context) (Event, error) {
	server := address(c.offer.ServerIdentifier())
	return c.pause(ctx)(c.answered(c.ask(ctx, requests, dhcpv4.MessageTypeRequest, answers(server),
		dhcpv4.WithTransactionID(c.offer.TransactionID), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(c.offer.YourIPAddr)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server.AsSlice())))))
}

// pause returns a function that waits after a refusal: a server that refuses what it has offered
// would be asked as fast as it answers.
func (c *client) pause(ctx context.Context) func(Event, error) (Event, error) {
	return func(e Event, err error) (Event, error) {
		if e == Nacked {
			backoff.Wait(ctx, time.Second)
		}
		return e, err
	}
}

func (c *client) reboot(ctx context.Context) (Event, error) {
	e, err := c.answered(c.ask(ctx, reboots, dhcpv4.MessageTypeRequest, answers(netip.Addr{}), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(c.lease.Address.Addr().AsSlice()))))
	if e == TimedOut {
		c.drop("no server confirms it")
	}
	return e, err
}

func (c *client) verify(ctx context.Context) (Event, error) {
	if c.lease != nil && c.lease.Address == c.next.Address && configured(c.link, c.next.Address) {
		return Free, c.use() // It has it all the time.
	}
	other, err := probe(ctx, c.link, c.next.Address.Addr())
	switch {
	case err != nil:
		return "", err
	case other != nil:
		c.log.Error("another machine has the address of the lease, which is declined", "address", c.next.Address.Addr().String(), "machine", other.String())
		return Conflict, nil
	}
	if c.lease != nil && c.lease.Address != c.next.Address {
		c.drop("the server gives another address")
	}
	if err := c.use(); err != nil {
		return "", err
	}
	if err := announce(c.link, c.next.Address.Addr()); err != nil {
		c.log.Warn("cannot announce the address", "error", err)
	}
	return Free, nil
}

// configured reports whether a link has an address.
func configured(link *net.Interface, p netip.Prefix) bool {
	list, err := link.Addrs()
	for _, a := range list {
		if err == nil && a.String() == p.String() {
			return true
		}
	}
	return false
}

// use configures the lease that was acknowledged.
func (c *client) use() error {
	fresh := c.lease == nil || c.lease.Address != c.next.Address
	if err := configure(c.link, c.next, c.options, timeline.Now()); err != nil {
		if !configured(c.link, c.next.Address) {
			return err
		}
		c.report(err) // A route that cannot be, for example: the address serves all the same.
	} else {
		c.problem = ""
	}
	l := c.next
	c.lease = &l
	if fresh {
		c.log.Info("the link has a lease", "address", l.Address.String(), "server", l.Server.String(), "for", l.Left(timeline.Now()).Round(time.Second).String())
	}
	if err := c.store.save(l); err != nil {
		c.log.Error("cannot tell others of the lease", "error", err)
	}
	return nil
}

func (c *client) decline(ctx context.Context) (Event, error) {
	l := c.next
	if c.lease != nil {
		c.drop("another machine has the address")
	}
	m, err := c.identity().message(dhcpv4.MessageTypeDecline, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(l.Address.Addr().AsSlice())), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(l.Server.AsSlice())))
	if err == nil {
		err = tell(ctx, c.link, netip.Addr{}, netip.Addr{}, m)
	}
	if err != nil {
		c.report(err)
	}
	backoff.Wait(ctx, declineWait)
	c.secs = timeline.Now()
	return Waited, nil
}

func (c *client) bound(ctx context.Context) (Event, error) {
	if c.lease.Renew == lease.Forever {
		<-ctx.Done()
		return "", ctx.Err()
	}
	if !waitUntil(ctx, c.lease.Renew) {
		return "", errors.New("cannot wait for the time to renew the lease")
	}
	c.secs = timeline.Now()
	return T1, nil
}

// extend asks for more time until the time end, at which the event last follows. A server that is
// not valid means any.
func (c *client) extend(ctx context.Context, server netip.Addr, end time.Duration, last Event) (Event, error) {
	for {
		now := timeline.Now()
		if now >= end {
			return last, nil
		}
		next := now + renewPause(end-now, c.lease.Expires-c.lease.Obtained)
		a := c.lease.Address.Addr()
		m, err := c.identity().message(dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(a.AsSlice()), c.elapsed())
		if err != nil {
			return "", err
		}
		answer, err := exchange(ctx, c.link, a, server, m, min(next, end)-now, answers(server))
		if err == nil {
			event, err := c.answered(answer, nil)
			if event == Acked {
				if c.next.Address != c.lease.Address {
					return Nacked, nil // RFC 2131 knows no such answer: it begins anew.
				}
				return event, c.use()
			}
			return event, err
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if !errors.Is(err, errNoAnswer) { // The network is unreachable, for example.
			c.report(err)
		}
		if !waitUntil(ctx, min(next, end)) {
			return "", errors.New("cannot wait for the time to ask again")
		}
	}
}

// renewPause returns the time between two attempts: half of what is left, but not less than a
// minute (RFC 2131 section 4.4.5), and for short leases than an eighth of them.
func renewPause(left, length time.Duration) time.Duration {
	return min(left, max(left/2, min(shortestRenew, length/8)))
}

// drop removes a lease that has ended.
func (c *client) drop(why string) {
	if c.lease == nil {
		return
	}
	l := *c.lease
	c.lease = nil
	c.log.Info("the lease has ended, and its address is removed", "address", l.Address.String(), "reason", why)
	if err := errors.Join(remove(c.link, l), c.store.forget(c.link.Name)); err != nil {
		c.log.Error("cannot remove what a lease has configured", "error", err)
	}
}

// release gives a lease back to its server, and removes its address.
func (c *client) release(ctx context.Context) {
	if c.lease == nil {
		return
	}
	l := *c.lease
	a := l.Address.Addr()
	m, err := c.identity().message(dhcpv4.MessageTypeRelease, dhcpv4.WithClientIP(a.AsSlice()), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(l.Server.AsSlice())))
	if err == nil {
		err = tell(ctx, c.link, a, l.Server, m)
	}
	if err != nil {
		c.log.Warn("the server does not know that the lease is given back", "error", err)
	}
	c.drop("given back")
}
