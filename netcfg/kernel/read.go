package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"keelson/netcfg/config"
	"keelson/netcfg/plan"
)

// Kernel is the kernel's network of this process's namespace.
type Kernel struct {
	// Sysctl is where settings are written, /proc/sys if it is empty. A container has that
	// read-only, and gets net below it at another place.
	Sysctl string
}

// readAttempts is how often a list is read again that has changed meanwhile (NLM_F_DUMP_INTR).
const readAttempts = 5

// dump reads a list that does not change while it is read. The last attempt's is returned
// as it is: an event follows.
func dump[T any](what string, read func() ([]T, error)) ([]T, error) {
	for attempt := 1; ; attempt++ {
		all, err := read()
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			if attempt < readAttempts {
				continue
			}
			err = nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot list %s: %w", what, err)
		}
		return all, nil
	}
}

// Read reads the state. Routes and rules are only those with plan.Protocol.
func (k Kernel) Read() (plan.State, error) {
	s, err := Links()
	if err != nil {
		return s, err
	}
	routes, err := dump("routes", func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: plan.Protocol, Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return s, err
	}
	for _, r := range routes {
		s.Routes = append(s.Routes, plan.Route{Link: r.LinkIndex, Route: fromRoute(r)})
	}
	rules, err := dump("rules", func() ([]netlink.Rule, error) { return netlink.RuleList(netlink.FAMILY_ALL) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
		return s, nil // A kernel without rules has none.
	}
	for _, r := range rules {
		if r.Protocol == plan.Protocol {
			s.Rules = append(s.Rules, plan.Rule{Rule: fromRule(r)})
		}
	}
	return s, err
}

// Links reads links and addresses.
func Links() (plan.State, error) {
	var s plan.State
	links, err := dump("links", netlink.LinkList)
	if err != nil {
		return s, err
	}
	for _, l := range links {
		s.Links = append(s.Links, fromLink(l))
	}
	addresses, err := dump("addresses", func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return s, err
	}
	for _, a := range addresses {
		if p := fromNet(a.IPNet); p.IsValid() {
			s.Addresses = append(s.Addresses, plan.Address{
				Link: a.LinkIndex, Address: config.Address{Prefix: p, Label: a.Label, Deprecated: a.Flags&unix.IFA_F_DEPRECATED != 0},
				Tentative: a.Flags&unix.IFA_F_TENTATIVE != 0, Duplicate: a.Flags&unix.IFA_F_DADFAILED != 0, Dynamic: a.Flags&unix.IFA_F_PERMANENT == 0, ValidFor: a.ValidLft, PreferredFor: a.PreferedLft,
			})
		}
	}
	return s, nil
}

// RoutesLimit is how many routes Routes returns at most.
const RoutesLimit = 1000

// Routes reads the routes of the main table, whoever has made them.
func Routes() ([]plan.Route, error) {
	all, err := dump("routes", func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	})
	var list []plan.Route
	for _, r := range all {
		if len(list) < RoutesLimit {
			list = append(list, plan.Route{Link: r.LinkIndex, Route: fromRoute(r), Protocol: int(r.Protocol)})
		}
	}
	return list, err
}

// fromNet returns a prefix with its address; the zero one for nil.
func fromNet(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	a := fromIP(n.IP)
	bits, _ := n.Mask.Size()
	if !a.IsValid() || bits < 0 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, bits)
}

func fromIP(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// fromLink returns what the plan knows of a link.
func fromLink(l netlink.Link) plan.Link {
	a := l.Attrs()
	s := plan.Link{
		Index: a.Index, Name: a.Name, Kind: config.Kind(l.Type()), MAC: a.HardwareAddr, Original: a.PermHWAddr, MTU: a.MTU,
		Up: a.Flags&net.FlagUp != 0, Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0, Loopback: a.Flags&net.FlagLoopback != 0, Master: a.MasterIndex,
	}
	if s.Kind == "device" { // Links without a kind, for the library.
		s.Kind = config.Physical
	}
	switch t := l.(type) {
	case *netlink.Vlan:
		s.VLANID, s.Parent = t.VlanId, a.ParentIndex
	case *netlink.Macvlan:
		s.Mode, s.Parent = macvlanNames[t.Mode], a.ParentIndex
	case *netlink.IPVlan:
		s.Mode, s.Parent = ipvlanNames[t.Mode], a.ParentIndex
	case *netlink.Veth:
		if a.NetNsID < 0 { // Else its peer is in another namespace.
			s.Parent = a.ParentIndex
		}
	case *netlink.Vrf:
		s.Table = int(t.Table)
	}
	device := filepath.Join("/sys/class/net", a.Name, "device")
	if driver, err := os.Readlink(device + "/driver"); err == nil {
		s.Driver = filepath.Base(driver)
	}
	if where, err := filepath.EvalSymlinks(device); err == nil {
		s.Path = devicePath(where, subsystemOf)
	}
	conf := filepath.Join("/proc/sys/net/ipv6/conf", a.Name)
	if text, err := os.ReadFile(conf + "/accept_ra"); err == nil {
		accepts := strings.TrimSpace(string(text)) != "0"
		s.AcceptRA = &accepts
	}
	if text, err := os.ReadFile(conf + "/addr_gen_mode"); err == nil {
		makes := strings.TrimSpace(string(text)) != noAddress
		s.IPv6LL = &makes
	}
	return s
}

// noAddress is the value of addr_gen_mode without link-local addresses
// (IN6_ADDR_GEN_MODE_NONE; kernel document networking/ip-sysctl.rst).
const noAddress = "1"

// usbName is the name of a USB interface.
var usbName = regexp.MustCompile(`^[0-9]+-([0-9.]+):([0-9]+\.[0-9]+)$`)

// devicePath returns the place of a device as udev's path_id names it (ID_PATH): the nearest device on
// its way of each bus, the outermost first. subsystem returns the bus of a folder of sysfs.
func devicePath(where string, subsystem func(dir string) string) string {
	var path, last string
	for dir := where; strings.HasPrefix(dir, "/sys/devices/"); dir = filepath.Dir(dir) {
		bus, name := subsystem(dir), filepath.Base(dir)
		if bus == last { // Bridges and hubs on the way to the nearest one.
			continue
		}
		switch m := usbName.FindStringSubmatch(name); {
		case bus == "usb" && m != nil:
			name = "usb-0:" + m[1] + ":" + m[2]
		case bus == "pci", bus == "platform":
			name = bus + "-" + name
		default:
			continue
		}
		path, last = strings.TrimSuffix(name+"-"+path, "-"), bus
	}
	return path
}

// subsystemOf returns the bus of a device.
func subsystemOf(dir string) string {
	to, err := os.Readlink(filepath.Join(dir, "subsystem"))
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

var typeNames = map[int]string{unix.RTN_LOCAL: "local", unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw"}

func fromRoute(r netlink.Route) config.Route {
	made := config.Route{
		Via: fromIP(r.Gw), From: fromIP(r.Src), Metric: r.Priority, Table: r.Table, Type: typeNames[r.Type], Scope: "global",
		OnLink: r.Flags&int(netlink.FLAG_ONLINK) != 0, MTU: r.MTU, CWindow: r.InitCwnd, AWindow: r.InitRwnd,
	}
	switch made.To = fromNet(r.Dst); {
	case made.To.IsValid():
	case r.Family == netlink.FAMILY_V6:
		made.To = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	default:
		made.To = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	if made.To.Addr().Is4() {
		switch r.Scope {
		case netlink.SCOPE_LINK:
			made.Scope = "link"
		case netlink.SCOPE_HOST:
			made.Scope = "host"
		}
	}
	return made
}

func fromRule(r netlink.Rule) config.Rule {
	return config.Rule{From: fromNet(r.Src), To: fromNet(r.Dst), IPv6: r.Family == netlink.FAMILY_V6, Table: r.Table, Priority: r.Priority, Mark: int(r.Mark), TOS: int(r.Tos)}
}
