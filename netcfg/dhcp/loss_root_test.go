package dhcp

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"keelson/netcfg/lease"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// newLossyWorld makes a world whose link eth0 loses, delays and repeats packets in both directions. The
// host's kernel need not have netem: the test passes the packets on.
func newLossyWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := newWorld(t, 1)
	run(t, "ip link set eth0 name mid1")
	run(t, "ip link add eth0 type veth peer name mid0")
	for _, link := range []string{"mid0", "mid1", "eth0"} {
		run(t, "ip link set "+link+" up")
	}
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	chances := make(chan chance)
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	go func() {
		for {
			select {
			case chances <- chanceOf(random):
			case <-ended:
				return
			}
		}
	}()
	a, b := frames(t, "mid0"), frames(t, "mid1")
	go pass(a, b, chances)
	go pass(b, a, chances)
	return w
}

// chance is what happens to a packet.
type chance struct {
	lost, twice bool
	late        time.Duration
}

func chanceOf(r *rand.Rand) (c chance) {
	c.lost, c.twice = r.IntN(100) < 30, r.IntN(100) < 10
	if r.IntN(100) < 30 {
		c.late = time.Duration(r.IntN(3000)) * time.Millisecond
	}
	return c
}

// frames opens a socket for all packets that arrive at a link.
func frames(t *testing.T, link string) *packet.Conn {
	t.Helper()
	i, err := net.InterfaceByName(link)
	must(t, err)
	conn, err := packet.Listen(i, packet.Raw, unix.ETH_P_ALL, nil)
	must(t, err)
	must(t, conn.SetPromiscuous(true))
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// pass passes the packets of one link on to another, until a socket is closed.
func pass(from, to *packet.Conn, chances <-chan chance) {
	data := make([]byte, 1<<16)
	for {
		n, _, err := from.ReadFrom(data)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		c := <-chances
		if err != nil || c.lost {
			continue
		}
		frame := append([]byte(nil), data[:n]...)
		complete(frame)
		time.AfterFunc(c.late, func() {
			_, _ = to.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
			if c.twice {
				_, _ = to.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
			}
		})
	}
}

// complete completes the checksum of a packet of UDP over IPv6 (RFC 8200 section 8.1), which the kernel leaves
// to the hardware. For IPv4, client and server use raw sockets, which send complete ones.
func complete(frame []byte) {
	const header, addresses, udp = 14, 22, 54
	if len(frame) < udp+8 || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IPV6 || frame[header+6] != unix.IPPROTO_UDP {
		return
	}
	end := min(len(frame), udp+int(binary.BigEndian.Uint16(frame[udp+4:])))
	clear(frame[udp+6 : udp+8])
	sum := uint32(unix.IPPROTO_UDP) + uint32(end-udp)
	for i := addresses; i < end; i += 2 {
		sum += uint32(frame[i]) << 8
		if i+1 < end {
			sum += uint32(frame[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(frame[udp+6:], ^uint16(sum))
}

// A lease over a link on which packets are lost, late and repeated.
func TestLossyLink(t *testing.T) {
	tier.Long(t)
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newLossyWorld(t, uint64(time.Now().UnixNano()))
		w.isc("authoritative; subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.10 192.0.2.20; option routers 192.0.2.1; }", "")
		stop := w.manager("eth0")
		w.until("a lease", func() bool { return w.lease("eth0") != nil })
		first := w.lease("eth0")
		stop()
		stop = w.manager("eth0")
		w.until("the lease again", func() bool { l := w.lease("eth0"); return l != nil && l.Obtained > first.Obtained })
		stop()
	})
}

// The same for IPv6, with a delegated prefix: Request, Rebind after a restart, and Renew.
func TestLossyLink6(t *testing.T) {
	tier.Long(t)
	t.Parallel()
	nstest.Run(t, func(t *testing.T) {
		w := newLossyWorld(t, uint64(time.Now().UnixNano()))
		run(t, "ip netns exec server ip address add 2001:db8::1/64 dev br0 nodad")
		w.until("the server's link", func() bool {
			return !strings.Contains(run(t, "ip netns exec server ip -6 address show dev br0"), "tentative")
		})
		w.isc("default-lease-time 120; preferred-lifetime 100; option dhcp-renewal-time 5; option dhcp-rebinding-time 90; subnet6 2001:db8::/64 { prefix6 2001:db8:100:: 2001:db8:1ff:: /56; }", "-6")
		stop := w.manager6(lease.Options{Prefixes: true}, "eth0")
		w.until("a lease", func() bool { return w.lease6("eth0") != nil })
		first := *w.lease6("eth0")
		w.logs("to=bound", 1)
		stop()
		stop = w.manager6(lease.Options{Prefixes: true}, "eth0")
		w.logs("to=bound", 2)
		w.logs("from=renewing event=ack to=bound", 1)
		if l := w.lease6("eth0"); l == nil || len(l.Prefixes) != 1 || l.Prefixes[0] != first.Prefixes[0] {
			t.Errorf("%+v, then %+v", first, l)
		}
		stop()
	})
}
