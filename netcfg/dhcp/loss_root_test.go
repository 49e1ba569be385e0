package dhcp

import (
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

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
		time.AfterFunc(c.late, func() {
			_, _ = to.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
			if c.twice {
				_, _ = to.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
			}
		})
	}
}

// A lease over a link on which packets are lost, late and repeated. Client and server use raw
// sockets, so that the checksums of what is passed on are complete.
func TestLossyLink(t *testing.T) {
	tier.Long(t)
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
