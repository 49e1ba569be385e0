package netcfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ResolvConf is where resolv.conf is written when /etc/resolv.conf is no link
// that says otherwise.
const ResolvConf = "/run/resolvconf/resolv.conf"

// ApplyIP configures what the value of an `ip=` parameter asks for: address,
// default route, hostname, and name servers. It waits for the device until
// ctx ends. ErrDynamic is returned for what only a DHCP client can do.
func ApplyIP(ctx context.Context, value string) error {
	p, err := ParseIP(value)
	if err != nil || p.Off {
		return err
	}
	link, err := waitLink(ctx, p.Device)
	if err != nil {
		return fmt.Errorf("cannot apply ip=%s: %w", value, err)
	}
	if err := p.configure(link); err != nil {
		return fmt.Errorf("cannot apply ip=%s: %w", value, err)
	}
	return p.names()
}

func (p IPParam) configure(link netlink.Link) error {
	if err := addAddress(link, p.Client.String()); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("cannot bring %s up: %w", link.Attrs().Name, err)
	}
	if !p.Gateway.IsValid() || p.Gateway.IsUnspecified() {
		return nil
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.IP(p.Gateway.AsSlice())}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("cannot route over %s: %w", p.Gateway, err)
	}
	return nil
}

func (p IPParam) names() error {
	var errs []error
	if p.Hostname != "" {
		if err := unix.Sethostname([]byte(p.Hostname)); err != nil {
			errs = append(errs, fmt.Errorf("cannot set hostname %s: %w", p.Hostname, err))
		}
	}
	if len(p.DNS) > 0 {
		errs = append(errs, writeResolvConf(resolvConfPath("/etc/resolv.conf"), p.DNS))
	}
	return errors.Join(errs...)
}

// resolvConfPath is where etc leads to when it is a link, else ResolvConf.
func resolvConfPath(etc string) string {
	to, err := os.Readlink(etc)
	if err != nil {
		return ResolvConf
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(etc), to)
	}
	return to
}

func writeResolvConf(path string, servers []netip.Addr) error {
	var b strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(b.String()), 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot write name servers: %w", err)
	}
	return nil
}

// waitLink returns the link called name, or for "" the first that is no
// loopback, as soon as there is one. The kernel tells of new links, so there
// is no looking twice.
func waitLink(ctx context.Context, name string) (netlink.Link, error) {
	updates := make(chan netlink.LinkUpdate, 16)
	done := make(chan struct{})
	opts := netlink.LinkSubscribeOptions{ListExisting: true}
	if err := netlink.LinkSubscribeWithOptions(updates, done, opts); err != nil {
		return nil, fmt.Errorf("cannot watch links: %w", err)
	}
	defer unsubscribe(updates, done)
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				return nil, errAnswersEnded
			}
			if u.Header.Type == unix.RTM_NEWLINK && wanted(u.Link, name) {
				return u.Link, nil
			}
		case <-ctx.Done():
			if name == "" {
				name = "other than lo"
			}
			return nil, fmt.Errorf("link %s: %w (%w)", name, ErrNoLink, ctx.Err())
		}
	}
}

var errAnswersEnded = errors.New("cannot watch links: the kernel's answers ended")

// unsubscribe ends a subscription and what it still has to say.
func unsubscribe(updates <-chan netlink.LinkUpdate, done chan<- struct{}) {
	close(done)
	for range updates { // Ends when the subscription does.
	}
}

// wanted takes only real devices when no name is given: tunnels that the
// kernel makes by itself (sit0, ip6tnl0) have no Ethernet framing.
func wanted(link netlink.Link, name string) bool {
	a := link.Attrs()
	if name != "" {
		return a.Name == name
	}
	return a.Flags&net.FlagLoopback == 0 && a.EncapType == "ether"
}
