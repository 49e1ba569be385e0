package config

import (
	"net"
	"net/netip"
	"path"
	"slices"
)

// Kind is the type of a link, by the kernel's name for it (IFLA_INFO_KIND).
type Kind string

// Kinds of links.
const (
	Physical  Kind = "" // one that is there, and not made
	Dummy     Kind = "dummy"
	VLAN      Kind = "vlan"
	Bond      Kind = "bond"
	Bridge    Kind = "bridge"
	VRF       Kind = "vrf"
	Veth      Kind = "veth"
	Wireguard Kind = "wireguard"
	MACVLAN   Kind = "macvlan"
	IPVLAN    Kind = "ipvlan"
)

// Config is the state that the network is to have.
type Config struct {
	// Links are in the order of their names, those that others are made from first.
	Links []Link
	// Notes are about fields that have no effect here, for people.
	Notes []string
}

// Link is what one link is to be.
type Link struct {
	ID      string // its name in the file
	Kind    Kind
	Match   Match  // of a physical link
	SetName string // new name of a physical link; empty: it keeps its own
	// Fallback leaves the links to others that match them too. The command line has such links, and
	// no file.
	Fallback bool

	MAC        net.HardwareAddr
	MTU        int // 0: as it is
	Addresses  []Address
	Routes     []Route
	Rules      []Rule
	DNS        []netip.Addr
	Search     []string
	DHCP4      DHCP
	DHCP6      DHCP
	AcceptRA   *bool // nil: as the kernel does
	IPv6LL     *bool // whether it makes a link-local address of IPv6; nil: as the kernel does
	Optional   bool  // nobody waits for it
	Activation Activation
	Master     string // ID of the bond, bridge or VRF that it is a member of

	// Parameters of a link that is made. Those of other kinds are nil or empty.
	Parent    string // ID of the link that a vlan, macvlan or ipvlan is made from
	VLANID    int
	Peer      string // of a veth
	Mode      string // of a macvlan or ipvlan
	Table     int    // of a VRF
	Bond      *BondParameters
	Bridge    *BridgeParameters
	Port      *PortParameters // as a member of a bridge
	Wireguard *WireguardParameters
}

// Activation says who brings a link up.
type Activation string

// Values of Activation.
const (
	Automatic Activation = ""
	Manual    Activation = "manual" // neither up nor down
	Off       Activation = "off"    // down
)

// Match selects a physical link. An empty field matches any.
type Match struct {
	Name    string // a pattern of path.Match
	MAC     net.HardwareAddr
	Drivers []string // patterns of path.Match, of which one is enough
	Path    string   // a pattern of path.Match, of ID_PATH, such as pci-0000:00:03.0
}

// Candidate is a link that may match.
type Candidate struct {
	Name, Driver, Path string
	MAC                net.HardwareAddr // the permanent address, if it has one
}

// Matches reports whether a link matches.
func (m Match) Matches(c Candidate) bool {
	return matches(m.Name, c.Name) && matches(m.Path, c.Path) &&
		(len(m.MAC) == 0 || slices.Equal(m.MAC, c.MAC)) &&
		(len(m.Drivers) == 0 || slices.ContainsFunc(m.Drivers, func(p string) bool { return matches(p, c.Driver) }))
}

func matches(pattern, value string) bool {
	ok, err := path.Match(pattern, value)
	return pattern == "" || ok && err == nil
}

// Address is an address with its prefix.
type Address struct {
	Prefix     netip.Prefix
	Label      string // ip-address(8), label; IPv4
	Deprecated bool   // never the source of a connection (lifetime: 0)
}

// Route is a route of ip-route(8).
type Route struct {
	To      netip.Prefix // its address is masked
	Via     netip.Addr   // invalid: on the link
	From    netip.Addr   // preferred source; may be invalid
	Metric  int          // 0: the kernel's, 1024 for IPv6
	Table   int          // 0: main, or that of the VRF
	Scope   string       // global, link or host; empty: what its gateway implies
	Type    string       // empty: unicast
	OnLink  bool
	MTU     int
	CWindow int // congestion window, in segments
	AWindow int // advertised window, in bytes
}

// Rule is a rule of ip-rule(8).
type Rule struct {
	From, To netip.Prefix // invalid: any
	IPv6     bool         // without From and To
	Table    int
	Priority int // 0: the kernel chooses
	Mark     int
	TOS      int
}

// DHCP says whether and how a link asks a DHCP server.
type DHCP struct {
	Enabled      bool
	Identifier   string // "mac" or "duid"
	ClientID     string // IPv4, in hexadecimal: in place of Identifier
	UseDNS       bool
	UseDomains   bool
	UseRoutes    bool
	UseMTU       bool
	UseHostname  bool
	UseNTP       bool
	SendHostname bool
	Hostname     string // sent instead of the machine's
	Metric       int    // of its routes
	Prefixes     bool   // ask for prefixes to delegate (IPv6)
}

// BondParameters are those of a bond (kernel document networking/bonding.rst). Times are in
// milliseconds; what is 0, empty or nil is as the kernel has it.
type BondParameters struct {
	Mode, LACPRate, HashPolicy, ADSelect                   string
	ARPValidate, ARPAllTargets, FailOverMAC, PrimarySelect string
	MIIMonitor, UpDelay, DownDelay, ARPInterval            int
	MinLinks, GratuitousARP, PacketsPerMember              int
	ResendIGMP, LearnInterval                              int
	AllMembersActive                                       bool
	ARPTargets                                             []netip.Addr
	Primary                                                string // ID of a member
}

// BridgeParameters are those of a bridge. Times are in seconds; nil is as the kernel has it.
type BridgeParameters struct {
	STP                                                   *bool
	AgeingTime, ForwardDelay, HelloTime, MaxAge, Priority *int
}

// PortParameters are those of a member of a bridge; 0 is as the kernel has it.
type PortParameters struct{ Cost, Priority int }

// WireguardParameters are those of a wireguard link.
type WireguardParameters struct {
	Key     Key
	KeyFile string // absolute path; read when the link is made
	Port    int
	Mark    int
	Peers   []WireguardPeer
}

// WireguardPeer is a peer of a wireguard link.
type WireguardPeer struct {
	Public     [32]byte
	Shared     Key
	SharedFile string
	Endpoint   string // HOST:PORT, empty for one that connects itself
	AllowedIPs []netip.Prefix
	Keepalive  int // seconds; 0: none
}

// Key is a secret key, which is not printed.
type Key struct{ Bytes *[32]byte }

func (k Key) String() string {
	if k.Bytes == nil {
		return ""
	}
	return "(secret)"
}

// GoString is String, so that no format prints the key.
func (k Key) GoString() string { return k.String() }

// Find returns the link with an ID; nil if there is none.
func (c Config) Find(id string) *Link {
	for i := range c.Links {
		if c.Links[i].ID == id {
			return &c.Links[i]
		}
	}
	return nil
}
