package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"keelson/netcfg"
	"keelson/netcfg/config"
	"keelson/netcfg/plan"
)

// Apply makes one change.
func (k Kernel) Apply(c plan.Change) error {
	if err := k.apply(c); err != nil {
		if errors.Is(err, unix.EEXIST) && c.Op == plan.AddRoute {
			err = fmt.Errorf("there is such a route of somebody else: %w", err)
		}
		return fmt.Errorf("cannot %s: %w", c, err)
	}
	return nil
}

func (k Kernel) apply(c plan.Change) error {
	switch c.Op {
	case plan.AddLink:
		return addLink(c)
	case plan.AddRoute, plan.DeleteRoute:
		return changeRoute(c)
	case plan.AddRule, plan.DeleteRule:
		return changeRule(c)
	case plan.SetAcceptRA:
		value := "0"
		if *c.Want.AcceptRA {
			value = "2" // Also where packets are forwarded (ip-sysctl.rst).
		}
		return k.sysctl("ipv6", c.Link, "accept_ra", value)
	case plan.SetIPv6LL:
		value := "0"
		if !*c.Want.IPv6LL {
			value = noAddress
		}
		return k.sysctl("ipv6", c.Link, "addr_gen_mode", value)
	}
	link, err := netlink.LinkByName(c.Link)
	if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) && (c.Op == plan.DeleteLink || c.Op == plan.DeleteAddress) {
		return nil // It went with another one, as the peer of a veth does.
	}
	if err != nil {
		return err
	}
	switch c.Op {
	case plan.DeleteLink:
		return netlink.LinkDel(link)
	case plan.Rename:
		return netlink.LinkSetName(link, c.To)
	case plan.SetMAC:
		return netcfg.SetMAC(link, c.Want.MAC)
	case plan.SetMTU:
		return netlink.LinkSetMTU(link, c.Want.MTU)
	case plan.SetParameters:
		return setParameters(link, c.Want)
	case plan.SetPort:
		return setPort(link, c.Want.Port)
	case plan.SetMaster:
		if c.To == "" {
			return netlink.LinkSetNoMaster(link)
		}
		master, err := netlink.LinkByName(c.To)
		if err != nil {
			return fmt.Errorf("%s: %w", c.To, err)
		}
		return netlink.LinkSetMaster(link, master)
	case plan.Up:
		return netlink.LinkSetUp(link)
	case plan.Down:
		return netlink.LinkSetDown(link)
	case plan.AddAddress:
		return netlink.AddrReplace(link, address(c.Address))
	case plan.DeleteAddress:
		// Without this, the kernel removes other addresses of the same network too.
		_ = k.sysctl("ipv4", c.Link, "promote_secondaries", "1")
		err := netlink.AddrDel(link, address(c.Address))
		if errors.Is(err, unix.EADDRNOTAVAIL) {
			return nil
		}
		return err
	}
	return fmt.Errorf("there is no change %q", c.Op)
}

// sysctl sets a setting of a link for ipv4 or ipv6 (kernel document networking/ip-sysctl.rst). A
// kernel without IPv6 has none.
func (k Kernel) sysctl(family, link, name, value string) error {
	if _, missing := os.Stat("/proc/sys/net/" + family); missing != nil {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(cmp.Or(k.Sysctl, "/proc/sys"), "net", family, "conf", link, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func ipNet(p netip.Prefix) *net.IPNet {
	if !p.IsValid() {
		return nil
	}
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func ip(a netip.Addr) net.IP { return a.AsSlice() }

func address(a config.Address) *netlink.Addr {
	made := &netlink.Addr{IPNet: ipNet(a.Prefix), Label: a.Label}
	if a.Deprecated {
		made.PreferedLft, made.ValidLft = 0, math.MaxUint32 // Forever valid, never preferred.
	}
	return made
}

func changeRoute(c plan.Change) error {
	r := c.Route
	made := &netlink.Route{
		Dst: ipNet(r.To), Gw: ip(r.Via), Src: ip(r.From), Priority: r.Metric, Table: r.Table, Protocol: plan.Protocol, MTU: r.MTU, InitCwnd: r.CWindow, InitRwnd: r.AWindow,
		Family: netlink.FAMILY_V4, Scope: netlink.SCOPE_UNIVERSE,
	}
	if r.To.Addr().Is6() {
		made.Family = netlink.FAMILY_V6
	}
	for number, name := range typeNames {
		if name == r.Type {
			made.Type = number
		}
	}
	switch {
	case r.Scope == "link":
		made.Scope = netlink.SCOPE_LINK
	case r.Scope == "host", r.Scope == "" && r.Type == "local":
		made.Scope = netlink.SCOPE_HOST
	}
	if r.OnLink {
		made.SetFlag(netlink.FLAG_ONLINK)
	}
	if c.Link != "" {
		link, err := netlink.LinkByName(c.Link)
		if err != nil {
			return err
		}
		made.LinkIndex = link.Attrs().Index
	}
	if c.Op == plan.AddRoute {
		return netlink.RouteAdd(made)
	}
	err := netlink.RouteDel(made)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

func changeRule(c plan.Change) error {
	r := netlink.NewRule()
	r.Src, r.Dst, r.Table, r.Protocol, r.Tos, r.Family = ipNet(c.Rule.From), ipNet(c.Rule.To), c.Rule.Table, plan.Protocol, uint(c.Rule.TOS), netlink.FAMILY_V4
	if c.Rule.IPv6 {
		r.Family = netlink.FAMILY_V6
	}
	if c.Rule.Priority != 0 {
		r.Priority = c.Rule.Priority
	}
	r.Mark = uint32(c.Rule.Mark)
	if c.Op == plan.AddRule {
		return netlink.RuleAdd(r)
	}
	err := netlink.RuleDel(r)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

var (
	macvlanNames = map[netlink.MacvlanMode]string{
		netlink.MACVLAN_MODE_PRIVATE: "private", netlink.MACVLAN_MODE_VEPA: "vepa", netlink.MACVLAN_MODE_BRIDGE: "bridge", netlink.MACVLAN_MODE_PASSTHRU: "passthru", netlink.MACVLAN_MODE_SOURCE: "source",
	}
	ipvlanNames = map[netlink.IPVlanMode]string{netlink.IPVLAN_MODE_L2: "l2", netlink.IPVLAN_MODE_L3: "l3", netlink.IPVLAN_MODE_L3S: "l3s"}
)

// keyOf returns the key that has a value, or other.
func keyOf[K comparable](m map[K]string, value string, other K) K {
	for k, v := range m {
		if v == value {
			return k
		}
	}
	return other
}

// addLink makes a link.
func addLink(c plan.Change) error {
	w := c.Want
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = c.Link, w.MAC
	attrs.MTU = w.MTU
	if c.Parent != "" {
		parent, err := netlink.LinkByName(c.Parent)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Parent, err)
		}
		attrs.ParentIndex = parent.Attrs().Index
	}
	var link netlink.Link
	switch w.Kind {
	case config.Dummy:
		link = &netlink.Dummy{LinkAttrs: attrs}
	case config.VLAN:
		link = &netlink.Vlan{LinkAttrs: attrs, VlanId: w.VLANID, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
	case config.Bond:
		link = bond(attrs, w.Bond)
	case config.Bridge:
		link = &netlink.Bridge{LinkAttrs: attrs}
	case config.VRF:
		link = &netlink.Vrf{LinkAttrs: attrs, Table: uint32(w.Table)}
	case config.Veth:
		link = &netlink.Veth{LinkAttrs: attrs, PeerName: w.Peer}
	case config.Wireguard:
		link = &netlink.Wireguard{LinkAttrs: attrs}
	case config.MACVLAN:
		link = &netlink.Macvlan{LinkAttrs: attrs, Mode: keyOf(macvlanNames, w.Mode, netlink.MACVLAN_MODE_BRIDGE)}
	case config.IPVLAN:
		link = &netlink.IPVlan{LinkAttrs: attrs, Mode: keyOf(ipvlanNames, w.Mode, netlink.IPVLAN_MODE_L2)}
	default:
		return fmt.Errorf("links of kind %q are not made", w.Kind)
	}
	if err := netlink.LinkAdd(link); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("the kernel has no links of kind %s: %w", w.Kind, err)
		}
		return err
	}
	made, err := netlink.LinkByName(c.Link)
	if err == nil {
		err = setParameters(made, w)
	}
	return err
}

func bond(attrs netlink.LinkAttrs, p *config.BondParameters) *netlink.Bond {
	b := netlink.NewLinkBond(attrs)
	set := func(field *int, value int) {
		if value != 0 {
			*field = value
		}
	}
	if v, ok := netlink.StringToBondModeMap[p.Mode]; ok {
		b.Mode = v
	}
	if v, ok := netlink.StringToBondLacpRateMap[p.LACPRate]; ok {
		b.LacpRate = v
	}
	if v, ok := netlink.StringToBondXmitHashPolicyMap[p.HashPolicy]; ok {
		b.XmitHashPolicy = v
	}
	if v, ok := netlink.StringToBondAdSelectMap[p.ADSelect]; ok {
		b.AdSelect = v
	}
	if v, ok := netlink.StringToBondArpValidateMap[p.ARPValidate]; ok {
		b.ArpValidate = v
	}
	if v, ok := netlink.StringToBondArpAllTargetsMap[p.ARPAllTargets]; ok {
		b.ArpAllTargets = v
	}
	if v, ok := netlink.StringToBondFailOverMacMap[p.FailOverMAC]; ok {
		b.FailOverMac = v
	}
	if v, ok := netlink.StringToBondPrimaryReselectMap[p.PrimarySelect]; ok {
		b.PrimaryReselect = v
	}
	set(&b.Miimon, p.MIIMonitor)
	set(&b.UpDelay, p.UpDelay)
	set(&b.DownDelay, p.DownDelay)
	set(&b.ArpInterval, p.ARPInterval)
	set(&b.MinLinks, p.MinLinks)
	set(&b.NumPeerNotif, p.GratuitousARP)
	set(&b.PacketsPerSlave, p.PacketsPerMember)
	set(&b.ResendIgmp, p.ResendIGMP)
	set(&b.LpInterval, p.LearnInterval)
	if p.AllMembersActive {
		b.AllSlavesActive = 1
	}
	for _, a := range p.ARPTargets {
		b.ArpIpTargets = append(b.ArpIpTargets, ip(a))
	}
	if primary, err := netlink.LinkByName(p.Primary); err == nil && p.Primary != "" {
		b.Primary = primary.Attrs().Index
	}
	return b
}
