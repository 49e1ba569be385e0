package netcfg

import (
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
	Peer         string // of a veth, which an empty Add then means: name of the end that stays outside
	CreateInRoot bool   // create outside, then move in
}

// Interfaces gives the network namespace of process pid the links listed, in
// order. It stops at the first that fails; links already moved or made go
// back or away with the namespace.
func Interfaces(pid int, list []Interface) error {
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
		if err := i.give(ns, inside); err != nil {
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

func (i Interface) give(ns netns.NsHandle, inside *netlink.Handle) error {
	switch {
	case i.Add == "":
		return i.move(ns)
	case i.CreateInRoot:
		if err := netlink.LinkAdd(i.link(nil)); err != nil {
			return fmt.Errorf("cannot create %s: %w", i.Add, err)
		}
		return i.move(ns)
	case i.Peer != "":
		// Asked for from outside, the kernel leaves the peer outside.
		if err := netlink.LinkAdd(i.link(netlink.NsFd(ns))); err != nil {
			return fmt.Errorf("cannot create veth with peer %s: %w", i.Peer, err)
		}
		return nil
	}
	if err := inside.LinkAdd(i.link(nil)); err != nil {
		return fmt.Errorf("cannot create %s: %w", i.Add, err)
	}
	return nil
}

func (i Interface) move(ns netns.NsHandle) error {
	link, err := linkByName(i.Name)
	if err != nil {
		return err
	}
	return netlink.LinkSetNsFd(link, int(ns))
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
