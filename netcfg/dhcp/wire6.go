package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/dhcpv6/nclient6"
)

// exchange6 sends a message to all servers of a link, and waits for an answer that is accepted. The option
// Server Unicast is not followed: RFC 9915 section 21.12 makes it obsolete.
func exchange6(ctx context.Context, link *net.Interface, m *dhcpv6.Message, timeout time.Duration, accepts func(*dhcpv6.Message) bool) (*dhcpv6.Message, error) {
	conn, err := nclient6.NewIPv6UDPConn(link.Name, dhcpv6.DefaultClientPort)
	if err != nil {
		return nil, fmt.Errorf("cannot open a socket for %s: %w", link.Name, err)
	}
	n, err := nclient6.NewWithConn(conn, link.HardwareAddr, nclient6.WithTimeout(timeout), nclient6.WithRetry(1))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer n.Close()
	to := *nclient6.AllDHCPRelayAgentsAndServers
	to.Zone = link.Name
	limited, cancel := context.WithTimeout(ctx, timeout) // As for IPv4.
	defer cancel()
	answer, err := n.SendAndRead(limited, &to, m, accepts)
	if errors.Is(err, nclient6.ErrNoResponse) || err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = errNoAnswer
	}
	return answer, err
}
