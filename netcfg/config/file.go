package config

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// file is the file as it is written.
type file struct {
	Network network `yaml:"network"`
}

type network struct {
	Version   int                   `yaml:"version"`
	Renderer  string                `yaml:"renderer"`
	Ethernets map[string]*ethernet  `yaml:"ethernets"`
	Dummies   map[string]*device    `yaml:"dummy-devices"`
	VLANs     map[string]*vlan      `yaml:"vlans"`
	Bonds     map[string]*bond      `yaml:"bonds"`
	Bridges   map[string]*bridge    `yaml:"bridges"`
	VRFs      map[string]*vrf       `yaml:"vrfs"`
	Veths     map[string]*veth      `yaml:"virtual-ethernets"`
	Tunnels   map[string]*tunnel    `yaml:"tunnels"`
	MACVLANs  map[string]*childLink `yaml:"macvlans"`
	IPVLANs   map[string]*childLink `yaml:"ipvlans"`
}

// device has the fields of all kinds of links.
type device struct {
	Renderer       string      `yaml:"renderer"`
	DHCP4          bool        `yaml:"dhcp4"`
	DHCP6          bool        `yaml:"dhcp6"`
	DHCPIdentifier string      `yaml:"dhcp-identifier"`
	Overrides4     overrides   `yaml:"dhcp4-overrides"`
	Overrides6     overrides   `yaml:"dhcp6-overrides"`
	AcceptRA       *bool       `yaml:"accept-ra"`
	LinkLocal      *[]string   `yaml:"link-local"`
	Critical       bool        `yaml:"critical"`
	Addresses      []address   `yaml:"addresses"`
	Gateway4       yaml.Node   `yaml:"gateway4"`
	Gateway6       yaml.Node   `yaml:"gateway6"`
	Nameservers    nameservers `yaml:"nameservers"`
	MAC            mac         `yaml:"macaddress"`
	MTU            int         `yaml:"mtu"`
	Optional       bool        `yaml:"optional"`
	Activation     string      `yaml:"activation-mode"`
	Routes         []route     `yaml:"routes"`
	Rules          []rule      `yaml:"routing-policy"`
}

type overrides struct {
	UseDNS       *bool  `yaml:"use-dns"`
	UseDomains   *bool  `yaml:"use-domains"`
	UseRoutes    *bool  `yaml:"use-routes"`
	UseMTU       *bool  `yaml:"use-mtu"`
	UseHostname  *bool  `yaml:"use-hostname"`
	UseNTP       *bool  `yaml:"use-ntp"`
	SendHostname *bool  `yaml:"send-hostname"`
	Hostname     string `yaml:"hostname"`
	RouteMetric  *int   `yaml:"route-metric"`
	Prefixes     bool   `yaml:"request-prefix"` // keelson's own
}

type nameservers struct {
	Search    []string `yaml:"search"`
	Addresses []addr   `yaml:"addresses"`
}

type route struct {
	To         string `yaml:"to"`
	Via        addr   `yaml:"via"`
	From       addr   `yaml:"from"`
	Metric     int    `yaml:"metric"`
	Table      int    `yaml:"table"`
	Scope      string `yaml:"scope"`
	Type       string `yaml:"type"`
	OnLink     bool   `yaml:"on-link"`
	MTU        int    `yaml:"mtu"`
	Congestion int    `yaml:"congestion-window"`
	Advertised int    `yaml:"advertised-receive-window"`
}

type rule struct {
	From     prefix `yaml:"from"`
	To       prefix `yaml:"to"`
	Table    int    `yaml:"table"`
	Priority int    `yaml:"priority"`
	Mark     int    `yaml:"mark"`
	TOS      int    `yaml:"type-of-service"`
}

type ethernet struct {
	device  `yaml:",inline"`
	Match   *match `yaml:"match"`
	SetName string `yaml:"set-name"`
}

type match struct {
	Name   string `yaml:"name"`
	MAC    mac    `yaml:"macaddress"`
	Driver texts  `yaml:"driver"`
	Path   string `yaml:"path"`
}

type vlan struct {
	device `yaml:",inline"`
	ID     *int   `yaml:"id"`
	Link   string `yaml:"link"`
}

type bond struct {
	device     `yaml:",inline"`
	Interfaces []string       `yaml:"interfaces"`
	Parameters bondParameters `yaml:"parameters"`
}

type bondParameters struct {
	Mode             string `yaml:"mode"`
	LACPRate         string `yaml:"lacp-rate"`
	HashPolicy       string `yaml:"transmit-hash-policy"`
	ADSelect         string `yaml:"ad-select"`
	ARPValidate      string `yaml:"arp-validate"`
	ARPAllTargets    string `yaml:"arp-all-targets"`
	FailOverMAC      string `yaml:"fail-over-mac-policy"`
	PrimarySelect    string `yaml:"primary-reselect-policy"`
	MIIMonitor       int    `yaml:"mii-monitor-interval"`
	UpDelay          int    `yaml:"up-delay"`
	DownDelay        int    `yaml:"down-delay"`
	ARPInterval      int    `yaml:"arp-interval"`
	MinLinks         int    `yaml:"min-links"`
	GratuitousARP    int    `yaml:"gratuitous-arp"`
	PacketsPerMember int    `yaml:"packets-per-member"`
	ResendIGMP       int    `yaml:"resend-igmp"`
	LearnInterval    int    `yaml:"learn-packet-interval"`
	AllMembersActive bool   `yaml:"all-members-active"`
	ARPTargets       []addr `yaml:"arp-ip-targets"`
	Primary          string `yaml:"primary"`
}

type bridge struct {
	device     `yaml:",inline"`
	Interfaces []string         `yaml:"interfaces"`
	Parameters bridgeParameters `yaml:"parameters"`
}

type bridgeParameters struct {
	STP          *bool          `yaml:"stp"`
	AgeingTime   *int           `yaml:"ageing-time"`
	ForwardDelay *int           `yaml:"forward-delay"`
	HelloTime    *int           `yaml:"hello-time"`
	MaxAge       *int           `yaml:"max-age"`
	Priority     *int           `yaml:"priority"`
	PathCost     map[string]int `yaml:"path-cost"`
	PortPriority map[string]int `yaml:"port-priority"`
}

type vrf struct {
	device     `yaml:",inline"`
	Interfaces []string `yaml:"interfaces"`
	Table      int      `yaml:"table"`
}

type veth struct {
	device `yaml:",inline"`
	Peer   string `yaml:"peer"`
}

type childLink struct {
	device `yaml:",inline"`
	Link   string `yaml:"link"`
	Mode   string `yaml:"mode"`
}

type tunnel struct {
	device `yaml:",inline"`
	Mode   string          `yaml:"mode"`
	Key    string          `yaml:"key"`
	Port   int             `yaml:"port"`
	Mark   int             `yaml:"mark"`
	Peers  []wireguardPeer `yaml:"peers"`
}

type wireguardPeer struct {
	Endpoint   string   `yaml:"endpoint"`
	AllowedIPs []prefix `yaml:"allowed-ips"`
	Keepalive  int      `yaml:"keepalive"`
	Keys       struct {
		Public string `yaml:"public"`
		Shared string `yaml:"shared"`
	} `yaml:"keys"`
}

// at returns an error about a node in the form in which the decoder reports its own, all of
// which it collects.
func at(n *yaml.Node, format string, args ...any) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s", n.Line, fmt.Sprintf(format, args...))}}
}

// scalar returns the text of a node.
func scalar(n *yaml.Node, want string) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", at(n, "want %s", want)
	}
	return n.Value, nil
}

// addr is an address.
type addr struct{ netip.Addr }

func (a *addr) UnmarshalYAML(n *yaml.Node) error {
	text, err := scalar(n, "an address")
	if err != nil {
		return err
	}
	if a.Addr, err = netip.ParseAddr(text); err != nil || a.Zone() != "" {
		return at(n, "%q is no address of IPv4 or IPv6", text)
	}
	a.Addr = a.Unmap()
	return nil
}

// prefix is a network, or one address.
type prefix struct{ netip.Prefix }

func (p *prefix) UnmarshalYAML(n *yaml.Node) error {
	text, err := scalar(n, "a network, as ADDRESS/LENGTH")
	if err != nil {
		return err
	}
	if p.Prefix, err = parseNetwork(text); err != nil {
		return at(n, "%v", err)
	}
	return nil
}

// parseNetwork parses ADDRESS/LENGTH or ADDRESS, and masks the address.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is no network: want ADDRESS/LENGTH", text)
	}
	return p.Masked(), nil
}

// address is ADDRESS/LENGTH, or a mapping of one to its options.
type address Address

func (a *address) UnmarshalYAML(n *yaml.Node) error {
	text := n.Value
	var options struct {
		Label    string `yaml:"label"`
		Lifetime string `yaml:"lifetime"`
	}
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 {
		text = n.Content[0].Value
		if err := known(n.Content[1], "label", "lifetime"); err != nil {
			return err
		}
		if err := n.Content[1].Decode(&options); err != nil {
			return err
		}
	} else if n.Kind != yaml.ScalarNode {
		return at(n, "want ADDRESS/LENGTH, or one with its options")
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		return at(n, "%q is no address with a prefix: want ADDRESS/LENGTH", text)
	case p.Addr().IsUnspecified() || p.Addr().IsMulticast():
		return at(n, "%s cannot be the address of a link", text)
	case options.Lifetime != "" && options.Lifetime != "forever" && options.Lifetime != "0":
		return at(n.Content[1], "lifetime %q: want forever or 0", options.Lifetime)
	case options.Label != "" && (p.Addr().Is6() || len(options.Label) >= nameLimit):
		return at(n.Content[1], "label %q: only addresses of IPv4 have one, of less than %d bytes", options.Label, nameLimit)
	}
	*a = address{Prefix: p, Label: options.Label, Deprecated: options.Lifetime == "0"}
	return nil
}

// known refuses fields of a mapping that a decoder would ignore: Node.Decode is not strict.
func known(n *yaml.Node, names ...string) error {
	var problems []string
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i]; !slices.Contains(names, key.Value) {
				problems = append(problems, fmt.Sprintf("line %d: field %s not found", key.Line, key.Value))
			}
		}
	}
	if problems != nil {
		return &yaml.TypeError{Errors: problems}
	}
	return nil
}

// mac is a hardware address of Ethernet.
type mac net.HardwareAddr

func (m *mac) UnmarshalYAML(n *yaml.Node) error {
	text, err := scalar(n, "a hardware address")
	if err != nil {
		return err
	}
	a, err := net.ParseMAC(text)
	if err != nil || len(a) != 6 {
		return at(n, "%q is no hardware address: want six bytes, as 02:00:00:00:00:01", text)
	}
	*m = mac(a)
	return nil
}

// texts is a text or a list of texts.
type texts []string

func (s *texts) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*s = texts{n.Value}
		return nil
	}
	return n.Decode((*[]string)(s))
}

// parseKey parses a key of wireguard, 32 bytes in base64, or the absolute path of a file with one.
func parseKey(text string) (key *[32]byte, file string, ok bool) {
	if strings.HasPrefix(text, "/") {
		return nil, text, true
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != 32 {
		return nil, "", false
	}
	return (*[32]byte)(b), "", true
}

// ParseKey parses the content of a file with a key of wireguard, as wg(8) writes it.
func ParseKey(text string) (Key, error) {
	key, file, ok := parseKey(strings.TrimSpace(text))
	if !ok || file != "" {
		return Key{}, fmt.Errorf("want 32 bytes in base64, as wg genkey prints them")
	}
	return Key{key}, nil
}
