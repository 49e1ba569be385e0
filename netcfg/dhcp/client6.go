package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/dhcpv6/nclient6"

	"keelson/netcfg/lease"
	"keelson/runtime/backoff"
	"keelson/runtime/durable"
	"keelson/runtime/timeline"
)

// Times of RFC 8415 section 7.6.
const (
	firstTimeout6   = time.Second
	longestTimeout6 = 60 * time.Second
	requests6       = 10
	duplicateLimit  = 10 * time.Second // how long the kernel may take to verify an address
)

// client6 is the client for IPv6 of one link with a carrier. One goroutine uses it.
type client6 struct {
	link     *net.Interface
	identity identity6
	inform   bool // ask for information only
	dir      string
	log      *slog.Logger

	state   State
	lease   *lease.Lease
	next    lease.Lease
	offer   dhcpv6.DUID // of the server
	begun   time.Duration
	problem string
}

// run asks for a lease and keeps it until ctx ends.
func (c *client6) run(ctx context.Context) {
	c.state = Soliciting
	if c.inform {
		c.state = Informing
	}
	c.begun = timeline.Now()
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
		c.state = Table6[before][event]
		c.log.Debug("the state has changed", "from", string(before), "event", string(event), "to", string(c.state))
		if before.holds() && !c.state.holds() {
			c.drop(fmt.Sprintf("%s while %s", event, before))
		}
	}
}

func (c *client6) report(err error) {
	if text := err.Error(); text != c.problem {
		c.problem = text
		c.log.Error("cannot get a lease now; it is tried again", "state", string(c.state), "error", text)
	}
}

func (c *client6) act(ctx context.Context) (Event, error) {
	switch c.state {
	case Soliciting:
		return c.solicit(ctx)
	case Requesting:
		return c.request(ctx)
	case Probing:
		return c.verify(ctx)
	case Declining:
		return c.decline(ctx)
	case Bound:
		if !c.sleep(ctx, c.lease.Renew) {
			return "", errors.New("cannot wait for the time to renew the lease")
		}
		c.begun = timeline.Now()
		return T1, nil
	case Renewing:
		return c.extend(ctx, dhcpv6.MessageTypeRenew, c.lease.Rebind, T2)
	case Rebinding:
		return c.extend(ctx, dhcpv6.MessageTypeRebind, c.lease.Expires, Expired)
	case Informing:
		return c.information(ctx)
	case Informed:
		if !c.sleep(ctx, c.lease.Renew) {
			return "", errors.New("cannot wait for the time to ask again")
		}
		return Refresh, nil
	}
	return "", fmt.Errorf("there is no state %q", c.state)
}

// sleep waits until a time, or until ctx ends.
func (c *client6) sleep(ctx context.Context, at time.Duration) bool {
	if at == lease.Forever {
		<-ctx.Done()
		return false
	}
	return waitUntil(ctx, at)
}

// exchange sends a message and waits for an answer to this client that is accepted.
func (c *client6) exchange(ctx context.Context, m *dhcpv6.Message, timeout time.Duration, kind dhcpv6.MessageType, accepts func(*dhcpv6.Message) bool) (*dhcpv6.Message, error) {
	conn, err := nclient6.NewIPv6UDPConn(c.link.Name, dhcpv6.DefaultClientPort)
	if err != nil {
		return nil, fmt.Errorf("cannot open a socket for %s: %w", c.link.Name, err)
	}
	n, err := nclient6.NewWithConn(conn, c.link.HardwareAddr, nclient6.WithTimeout(timeout), nclient6.WithRetry(1))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer n.Close()
	to := *nclient6.AllDHCPRelayAgentsAndServers
	to.Zone = c.link.Name
	limited, cancel := context.WithTimeout(ctx, timeout) // As for IPv4.
	defer cancel()
	answer, err := n.SendAndRead(limited, &to, m, func(a *dhcpv6.Message) bool {
		id := a.Options.ClientID()
		return a.MessageType == kind && id != nil && id.Equal(c.identity.duid()) && (accepts == nil || accepts(a))
	})
	if errors.Is(err, nclient6.ErrNoResponse) || err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = errNoAnswer
	}
	return answer, err
}

// timeout6 returns the time to wait for an answer to an attempt, from 0.
func timeout6(attempt int) time.Duration {
	return backoff.Delay(attempt+1, firstTimeout6, longestTimeout6)
}

func (c *client6) solicit(ctx context.Context) (Event, error) {
	for i := 0; ; i++ {
		m, err := c.identity.message(dhcpv6.MessageTypeSolicit, timeline.Now()-c.begun, c.lease, nil)
		if err != nil {
			return "", err
		}
		offer, err := c.exchange(ctx, m, timeout6(i), dhcpv6.MessageTypeAdvertise, func(a *dhcpv6.Message) bool {
			_, err := leaseOf6(c.link.Name, c.identity, a, timeline.Now())
			return err == nil
		})
		if err == nil {
			c.offer = offer.Options.ServerID()
			c.next, err = leaseOf6(c.link.Name, c.identity, offer, timeline.Now())
			return Offered, err
		}
		if !errors.Is(err, errNoAnswer) {
			return "", err
		}
		if i == 3 {
			c.report(errors.New("no DHCP server answers with an address or prefix"))
		}
	}
}

func (c *client6) request(ctx context.Context) (Event, error) {
	offered := c.next
	for i := range requests6 {
		m, err := c.identity.message(dhcpv6.MessageTypeRequest, timeline.Now()-c.begun, &offered, c.offer)
		if err != nil {
			return "", err
		}
		answer, err := c.exchange(ctx, m, timeout6(i), dhcpv6.MessageTypeReply, nil)
		if errors.Is(err, errNoAnswer) {
			continue
		}
		if err != nil {
			return "", err
		}
		return c.answered(ctx, answer)
	}
	return TimedOut, nil
}

// answered returns the event of a reply.
func (c *client6) answered(ctx context.Context, answer *dhcpv6.Message) (Event, error) {
	l, err := leaseOf6(c.link.Name, c.identity, answer, timeline.Now())
	if err != nil {
		c.report(fmt.Errorf("the server gives no lease: %w", err))
		backoff.Wait(ctx, time.Second)
		return Nacked, nil
	}
	c.next = l
	return Acked, nil
}

// verify configures the lease that was acknowledged, and waits until the kernel has verified its
// address.
func (c *client6) verify(ctx context.Context) (Event, error) {
	if c.lease != nil && c.lease.Address != c.next.Address {
		c.drop("the server gives another address")
	}
	if c.next.Address.IsValid() {
		if err := configure6(c.link, c.next, timeline.Now()); err != nil {
			return "", err
		}
		duplicate, err := verified(ctx, c.link, c.next.Address, duplicateLimit)
		if err != nil {
			return "", err
		}
		if duplicate {
			c.log.Error("another machine has the address of the lease, which is declined", "address", c.next.Address.Addr().String())
			return Conflict, remove6(c.link, c.next)
		}
	}
	c.use()
	return Free, nil
}

// use keeps a lease that is configured, and tells others.
func (c *client6) use() {
	l := c.next
	if c.lease == nil || c.lease.Address != l.Address {
		c.log.Info("the link has a lease", "address", text6(l), "for", l.Left(timeline.Now()).Round(time.Second).String())
	}
	c.lease, c.problem = &l, ""
	if err := lease.Write(c.dir, l, durable.Replace); err != nil {
		c.log.Error("cannot tell others of the lease", "error", err)
	}
}

func text6(l lease.Lease) string {
	text := ""
	if l.Address.IsValid() {
		text = l.Address.Addr().String()
	}
	for _, p := range l.Prefixes {
		text += " " + p.String()
	}
	return text
}

func (c *client6) decline(ctx context.Context) (Event, error) {
	l := c.next
	c.tell(ctx, dhcpv6.MessageTypeDecline, &l)
	backoff.Wait(ctx, declineWait)
	c.begun = timeline.Now()
	return Waited, nil
}

// tell sends a message about a lease whose reply does not matter.
func (c *client6) tell(ctx context.Context, kind dhcpv6.MessageType, l *lease.Lease) {
	server, err := dhcpv6.DUIDFromBytes(l.ServerID)
	if err == nil {
		var m *dhcpv6.Message
		if m, err = c.identity.message(kind, 0, l, server); err == nil {
			_, err = c.exchange(ctx, m, firstTimeout6, dhcpv6.MessageTypeReply, nil)
		}
	}
	if err != nil {
		c.log.Warn("the server may not know what was told", "message", kind.String(), "error", err)
	}
}

// extend asks for more time until the time end, at which the event last follows.
func (c *client6) extend(ctx context.Context, kind dhcpv6.MessageType, end time.Duration, last Event) (Event, error) {
	var server dhcpv6.DUID
	if kind == dhcpv6.MessageTypeRenew {
		var err error
		if server, err = dhcpv6.DUIDFromBytes(c.lease.ServerID); err != nil {
			return last, nil // Any server may extend it then.
		}
	}
	for i := 0; ; i++ {
		now := timeline.Now()
		if now >= end {
			return last, nil
		}
		m, err := c.identity.message(kind, now-c.begun, c.lease, server)
		if err != nil {
			return "", err
		}
		next := now + min(end-now, timeout6(i))
		answer, err := c.exchange(ctx, m, next-now, dhcpv6.MessageTypeReply, nil)
		switch {
		case err == nil && (ended(answer) || granted(c, answer)):
			event, err := c.answered(ctx, answer)
			if event != Acked || err != nil {
				return event, err
			}
			if c.next.Address != c.lease.Address {
				return Nacked, nil // It begins anew.
			}
			if c.next.Address.IsValid() {
				if err := configure6(c.link, c.next, timeline.Now()); err != nil {
					return "", err
				}
			}
			c.use()
			return Acked, nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err == nil:
			c.report(errors.New("the server does not extend the lease now"))
		case !errors.Is(err, errNoAnswer):
			c.report(err)
		}
		if !waitUntil(ctx, next) {
			return "", errors.New("cannot wait for the time to ask again")
		}
	}
}

// granted reports whether an answer has a lease.
func granted(c *client6, answer *dhcpv6.Message) bool {
	_, err := leaseOf6(c.link.Name, c.identity, answer, timeline.Now())
	return err == nil
}

func (c *client6) information(ctx context.Context) (Event, error) {
	for i := 0; ; i++ {
		m, err := c.identity.message(dhcpv6.MessageTypeInformationRequest, timeline.Now()-c.begun, nil, nil)
		if err != nil {
			return "", err
		}
		answer, err := c.exchange(ctx, m, timeout6(i), dhcpv6.MessageTypeReply, nil)
		if errors.Is(err, errNoAnswer) {
			continue
		}
		if err != nil {
			return "", err
		}
		if c.next, err = informationOf(c.link.Name, answer, timeline.Now()); err != nil {
			return "", err
		}
		c.use()
		return Acked, nil
	}
}

// drop removes a lease that has ended.
func (c *client6) drop(why string) {
	if c.lease == nil {
		return
	}
	l := *c.lease
	c.lease = nil
	c.log.Info("the lease has ended, and its address is removed", "address", text6(l), "reason", why)
	err := lease.Remove(c.dir, c.link.Name, 6)
	if l.Address.IsValid() {
		err = errors.Join(err, remove6(c.link, l))
	}
	if err != nil {
		c.log.Error("cannot remove what a lease has configured", "error", err)
	}
}

// release gives a lease back to its server, and removes its address.
func (c *client6) release(ctx context.Context) {
	if c.lease == nil {
		return
	}
	l := *c.lease
	c.drop("given back")
	if len(l.ServerID) > 0 && (l.Address.IsValid() || len(l.Prefixes) > 0) {
		c.tell(ctx, dhcpv6.MessageTypeRelease, &l)
	}
}
