package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/mdlayher/arp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// forClient lets packets of UDP to the client's port pass (bpf(2), classic), at the offsets of a
// socket without a link-layer header. Fragments do not pass: no answer is one.
var forClient = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 9, Size: 1}, // protocol
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 6},
	bpf.LoadAbsolute{Off: 6, Size: 2}, // flags and fragment offset
	bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: 4},
	bpf.LoadMemShift{Off: 0}, // length of the header
	bpf.LoadIndirect{Off: 2, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: dhcpv4.ClientPort, SkipTrue: 1},
	bpf.RetConstant{Val: 1 << 16},
	bpf.RetConstant{Val: 0},
}

// broadcastConn opens a socket for a link that need not have an address. The kernel keeps other
// packets from it.
func broadcastConn(link *net.Interface) (net.PacketConn, error) {
	filter, err := bpf.Assemble(forClient)
	if err != nil {
		return nil, err
	}
	raw, err := packet.Listen(link, packet.Datagram, unix.ETH_P_IP, &packet.Config{Filter: filter})
	if err != nil {
		return nil, err
	}
	return nclient4.NewBroadcastUDPConn(raw, &net.UDPAddr{Port: dhcpv4.ClientPort}), nil
}

// unicastConn opens a socket at the client's address, for messages to its server.
func unicastConn(ctx context.Context, link *net.Interface, from netip.Addr) (net.PacketConn, error) {
	config := net.ListenConfig{Control: bindTo(link.Name)}
	return config.ListenPacket(ctx, "udp4", netip.AddrPortFrom(from, dhcpv4.ClientPort).String())
}

// exchange sends a message and waits for an answer that is accepted. to is invalid for a broadcast.
func exchange(ctx context.Context, link *net.Interface, from, to netip.Addr, message *dhcpv4.DHCPv4, timeout time.Duration, accepts func(*dhcpv4.DHCPv4) bool) (*dhcpv4.DHCPv4, error) {
	conn, dest, err := open(ctx, link, from, to)
	if err != nil {
		return nil, err
	}
	c, err := nclient4.NewWithConn(conn, link.HardwareAddr, nclient4.WithTimeout(timeout), nclient4.WithRetry(1))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer c.Close()
	// With many answers that are not accepted, the library would wait longer.
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := c.SendAndRead(limited, dest, message, accepts)
	if errors.Is(err, nclient4.ErrNoResponse) || err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = errNoAnswer
	}
	return answer, err
}

// tell sends a message that has no answer.
func tell(ctx context.Context, link *net.Interface, from, to netip.Addr, message *dhcpv4.DHCPv4) error {
	conn, dest, err := open(ctx, link, from, to)
	if err != nil {
		return err
	}
	_, err = conn.WriteTo(message.ToBytes(), dest)
	return errors.Join(err, conn.Close())
}

func open(ctx context.Context, link *net.Interface, from, to netip.Addr) (net.PacketConn, *net.UDPAddr, error) {
	dest := &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ServerPort}
	var conn net.PacketConn
	var err error
	if to.IsValid() {
		dest.IP = to.AsSlice()
		conn, err = unicastConn(ctx, link, from)
	} else {
		conn, err = broadcastConn(link)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open a socket for %s: %w", link.Name, err)
	}
	return conn, dest, nil
}

// Times of the probes for an address. RFC 5227 has three probes within 2 to 7 seconds, for which no
// machine waits here: another machine that is there answers at once.
const (
	probes     = 3
	probePause = 100 * time.Millisecond
)

// probe looks whether another machine uses an address, and returns who does; nil if nobody.
func probe(ctx context.Context, link *net.Interface, a netip.Addr) (net.HardwareAddr, error) {
	conn, err := packet.Listen(link, packet.Datagram, unix.ETH_P_ARP, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot probe for %s: %w", a, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	broadcast := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	question, err := arp.NewPacket(arp.OperationRequest, link.HardwareAddr, netip.IPv4Unspecified(), make(net.HardwareAddr, 6), a)
	if err != nil {
		return nil, err
	}
	text, err := question.MarshalBinary()
	if err != nil {
		return nil, err
	}
	buffer := make([]byte, 1500)
	for range probes {
		if _, err := conn.WriteTo(text, &packet.Addr{HardwareAddr: broadcast}); err != nil {
			return nil, fmt.Errorf("cannot probe for %s: %w", a, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(probePause))
		for ctx.Err() == nil {
			n, _, err := conn.ReadFrom(buffer)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("cannot probe for %s: %w", a, err)
			}
			if other := owner(buffer[:n], link.HardwareAddr, a); other != nil {
				return other, nil
			}
		}
	}
	return nil, ctx.Err()
}

// owner returns who uses an address, or probes for it, by a packet of ARP; nil if it says nothing
// of that.
func owner(text []byte, own net.HardwareAddr, a netip.Addr) net.HardwareAddr {
	var p arp.Packet
	if err := p.UnmarshalBinary(text); err != nil || len(p.SenderHardwareAddr) == 0 || string(p.SenderHardwareAddr) == string(own) {
		return nil
	}
	if p.SenderIP == a || p.SenderIP == netip.IPv4Unspecified() && p.TargetIP == a && p.Operation == arp.OperationRequest {
		return p.SenderHardwareAddr
	}
	return nil
}

// announce tells other machines of a new address (RFC 5227 section 2.3).
func announce(link *net.Interface, a netip.Addr) error {
	conn, err := packet.Listen(link, packet.Datagram, unix.ETH_P_ARP, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	p, err := arp.NewPacket(arp.OperationRequest, link.HardwareAddr, a, make(net.HardwareAddr, 6), a)
	if err != nil {
		return err
	}
	text, err := p.MarshalBinary()
	if err != nil {
		return err
	}
	_, err = conn.WriteTo(text, &packet.Addr{HardwareAddr: net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}})
	return err
}
