package dhcp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"keelson/netcfg/lease"
	"keelson/runtime/backoff"
	"keelson/runtime/timeline"
)

// Times of RFC 2131.
const (
	firstTimeout   = 4 * time.Second  // RFC 2131 section 4.1, each with a random second
	longestTimeout = 64 * time.Second // the same
	requests       = 4                // attempts in Requesting
	reboots        = 2                // attempts in Rebooting
	shortestRenew  = 60 * time.Second // between attempts in Renewing and Rebinding, section 4.4.5
)

// client4 is the client for IPv4 of one link.
type client4 struct {
	client
	options lease.Options
	offer   *dhcpv4.DHCPv4
	fresh   bool // the address is new, and to be announced
}

func (c *client4) table() map[State]map[Event]State { return Table }

func (c *client4) first(had *lease.Lease, _ bool) State {
	if had != nil {
		return Rebooting
	}
	return Selecting
}

func (c *client4) act(ctx context.Context) (Event, error) {
	switch c.state {
	case Rebooting:
		return c.reboot(ctx)
	case Selecting:
		return c.selectOffer(ctx)
	case Requesting:
		return c.request(ctx)
	}
	return "", fmt.Errorf("there is no state %q", c.state)
}

func (c *client4) identity() identity {
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
func (c *client4) elapsed() dhcpv4.Modifier {
	s := min(max(0, (timeline.Now()-c.begun)/time.Second), 1<<16-1)
	return func(m *dhcpv4.DHCPv4) { m.NumSeconds = uint16(s) }
}

// ask sends a message until there is an answer or enough attempts were made; without a limit if
// attempts is 0.
func (c *client4) ask(ctx context.Context, attempts int, kind dhcpv4.MessageType, accepts func(*dhcpv4.DHCPv4) bool, options ...dhcpv4.Modifier) (*dhcpv4.DHCPv4, error) {
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

// selectOffer asks for offers. A server may give a lease at once (RFC 4039).
func (c *client4) selectOffer(ctx context.Context) (Event, error) {
	answer, err := c.ask(ctx, 0, dhcpv4.MessageTypeDiscover, offers, dhcpv4.WithGeneric(dhcpv4.OptionRapidCommit, nil))
	if err != nil {
		return "", err
	}
	if answer.MessageType() == dhcpv4.MessageTypeAck {
		return c.answered(answer, nil)
	}
	c.offer = answer
	return Offered, nil
}

// offers accepts an OFFER, or an ACK with the option Rapid Commit.
func offers(m *dhcpv4.DHCPv4) bool {
	if !address(m.YourIPAddr).IsValid() || !address(m.ServerIdentifier()).IsValid() {
		return false
	}
	return m.MessageType() == dhcpv4.MessageTypeOffer || m.MessageType() == dhcpv4.MessageTypeAck && m.Options.Has(dhcpv4.OptionRapidCommit)
}

// answers accepts an ACK or a NAK, of one server if it is valid.
func answers(server netip.Addr) func(*dhcpv4.DHCPv4) bool {
	return func(m *dhcpv4.DHCPv4) bool {
		t := m.MessageType()
		return (t == dhcpv4.MessageTypeAck || t == dhcpv4.MessageTypeNak) && (!server.IsValid() || address(m.ServerIdentifier()) == server)
	}
}

// answered returns the event of an answer to a request.
func (c *client4) answered(answer *dhcpv4.DHCPv4, err error) (Event, error) {
	switch {
	case errors.Is(err, errNoAnswer):
		return TimedOut, nil
	case err != nil:
		return "", err
	case answer.MessageType() == dhcpv4.MessageTypeNak:
		c.log.Info("the server refuses the address", "server", answer.ServerIdentifier().String(), "reason", name(answer.Message()))
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

func (c *client4) request(ctx context.Context) (Event, error) {
	server := address(c.offer.ServerIdentifier())
	return c.answered(c.ask(ctx, requests, dhcpv4.MessageTypeRequest, answers(server),
		dhcpv4.WithTransactionID(c.offer.TransactionID), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(c.offer.YourIPAddr)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server.AsSlice()))))
}

func (c *client4) reboot(ctx context.Context) (Event, error) {
	return c.answered(c.ask(ctx, reboots, dhcpv4.MessageTypeRequest, answers(netip.Addr{}), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(c.lease.Address.Addr().AsSlice()))))
}

func (c *client4) verify(ctx context.Context) (Event, error) {
	a := c.next.Address.Addr()
	if c.lease != nil && configured(c.link, c.next.Address) {
		return Free, nil // It has it all the time.
	}
	other, err := probe(ctx, c.link, a)
	switch {
	case err != nil:
		return "", err
	case other != nil:
		c.log.Error("another machine has the address of the lease, which is declined", "address", a.String(), "machine", other.String())
		return Conflict, nil
	}
	c.fresh = true
	return Free, nil
}

func (c *client4) configure(l lease.Lease) error {
	err := configure(c.link, l, c.options, timeline.Now())
	if c.fresh && configured(c.link, l.Address) {
		c.fresh = false
		if err := announce(c.link, l.Address.Addr()); err != nil {
			c.log.Warn("cannot announce the address", "error", err)
		}
	}
	return err
}

func (c *client4) remove(l lease.Lease) error { return remove(c.link, l) }

func (c *client4) decline(ctx context.Context, l lease.Lease) error {
	m, err := c.identity().message(dhcpv4.MessageTypeDecline, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(l.Address.Addr().AsSlice())), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(l.Server.AsSlice())))
	if err != nil {
		return err
	}
	return tell(ctx, c.link, netip.Addr{}, netip.Addr{}, m)
}

func (c *client4) release(ctx context.Context, l lease.Lease) error {
	a := l.Address.Addr()
	m, err := c.identity().message(dhcpv4.MessageTypeRelease, dhcpv4.WithClientIP(a.AsSlice()), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(l.Server.AsSlice())))
	if err != nil {
		return err
	}
	return tell(ctx, c.link, a, l.Server, m)
}

func (c *client4) extend(ctx context.Context, timeout time.Duration) (Event, error) {
	server := c.lease.Server
	if c.state == Rebinding {
		server = netip.Addr{} // Any.
	}
	a := c.lease.Address.Addr()
	m, err := c.identity().message(dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(a.AsSlice()), c.elapsed())
	if err != nil {
		return "", err
	}
	answer, err := exchange(ctx, c.link, a, server, m, timeout, answers(server))
	if err != nil {
		return "", err
	}
	return c.answered(answer, nil)
}

func (c *client4) pause(_ int, left time.Duration) time.Duration {
	return renewPause(left, c.lease.Expires-c.lease.Obtained)
}

// renewPause returns the time between two attempts: half of what is left, but not less than a
// minute (RFC 2131 section 4.4.5), and for short leases than an eighth of them.
func renewPause(left, length time.Duration) time.Duration {
	return min(left, max(left/2, min(shortestRenew, length/8)))
}
