package netcfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Interface is one entry of `interfaces` in a bundle's runtime.json.
type Interface struct {
	Name         string // the link's name in the container
	Add          string // type of link to create; empty: move an existing one
	Peer         string // name of the end of a veth that stays outside; implies Add veth
	CreateInRoot bool   // create outside, then move in
}

// Interfaces creates the links of list in the network namespace of process pid, or moves
// them there, in order. It stops at the first failure; the kernel moves links back or
// deletes them with the namespace. It does so some time after the last process of the
// namespace has ended: until ctx ends, Interfaces waits for a link that is not back yet,
// and for the end of a link whose name is needed.
func Interfaces(ctx context.Context, pid int, list []Interface) error {
	if len(list) == 0 {
		return nil
	}
	ns, err := netns.GetFromPath("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		return fmt.Errorf("cannot open network namespace of process %d: %w", pid, err)
	}
	defer ns.Close()
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("cannot enter network namespace of process %d: %w", pid, err)
	}
	defer inside.Close()
	for _, i := range list {
		if i.Peer != "" && i.Add == "" {
			i.Add = "veth"
		}
		if err := i.check(); err != nil {
			return err
		}
		if err := i.give(ctx, ns, inside); err != nil {
			return fmt.Errorf("cannot give interface %s to process %d: %w", i.Name, pid, err)
		}
	}
	return nil
}

func (i Interface) check() error {
	switch {
	case i.Name == "":
		return errors.New("interface without a name")
	case i.Peer != "" && i.Add != "veth":
		return fmt.Errorf("interface %s: peer needs add: veth, not %q", i.Name, i.Add)
	case i.CreateInRoot && i.Add == "":
		return fmt.Errorf("interface %s: createInRoot needs add", i.Name)
	}
	return nil
}

func (i Interface) give(ctx context.Context, ns netns.NsHandle, inside *netlink.Handle) error {
	switch {
	case i.Add == "":
		link, err := waitLink(ctx, i.Name)
		if err != nil {
			return err
		}
		return netlink.LinkSetNsFd(link, int(ns))
	case i.CreateInRoot:
		return i.createAndMove(ctx, ns)
	case i.Peer != "":
		// The kernel leaves the peer in the namespace of the request.
		if err := addLink(ctx, i.link(netlink.NsFd(ns)), i.Peer); err != nil {
			return fmt.Errorf("cannot create veth with peer %s: %w", i.Peer, err)
		}
		return nil
	}
	if err := inside.LinkAdd(i.link(nil)); err != nil {
		return fmt.Errorf("cannot create %s: %w", i.Add, err)
	}
	return nil
}

func (i Interface) createAndMove(ctx context.Context, ns netns.NsHandle) error {
	link := i.link(nil)
	if err := addLink(ctx, link, i.Name, i.Peer); err != nil {
		return fmt.Errorf("cannot create %s: %w", i.Add, err)
	}
	if err := netlink.LinkSetNsFd(link, int(ns)); err != nil {
		return errors.Join(fmt.Errorf("cannot move it: %w", err), netlink.LinkDel(link))
	}
	return nil
}

// addLink adds link. While one of its names outside is in use, it waits for the end of
// that link.
func addLink(ctx context.Context, link netlink.Link, outside ...string) error {
	err := netlink.LinkAdd(link)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if waited := waitGone(ctx, outside); waited != nil {
		return errors.Join(err, waited)
	}
	return netlink.LinkAdd(link)
}

// waitGone waits until no link has one of names.
func waitGone(ctx context.Context, names []string) error {
	updates := make(chan netlink.LinkUpdate, 16)
	done := make(chan struct{})
	if err := netlink.LinkSubscribe(updates, done); err != nil {
		return fmt.Errorf("cannot watch links: %w", err)
	}
	defer unsubscribe(updates, done)
	for anyLink(names) {
		select {
		case _, ok := <-updates:
			if !ok {
				return ErrWatchEnded
			}
		case <-ctx.Done():
			return fmt.Errorf("still there: %w", ctx.Err())
		}
	}
	return nil
}

func anyLink(names []string) bool {
	for _, name := range names {
		if name == "" {
			continue
		}
		if _, err := linkByName(name); !errors.Is(err, ErrNoLink) {
			return true
		}
	}
	return false
}

func (i Interface) link(ns any) netlink.Link {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = i.Name
	attrs.Namespace = ns
	if i.Peer != "" {
		return &netlink.Veth{LinkAttrs: attrs, PeerName: i.Peer, PeerHardwareAddr: net.HardwareAddr(nil)}
	}
	return &netlink.GenericLink{LinkAttrs: attrs, LinkType: i.Add}
}
