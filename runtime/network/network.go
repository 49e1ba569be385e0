// Package network has what a machine's network is now: links, addresses, routes, name servers, leases
// of DHCP, and what the network service (netcfg/daemon) says of itself. `service net` and the
// control API show it, whoever has configured the network.
package network

import (
	"time"

	"keelson/runtime/paths"
)

// Files of the network service.
const (
	// Dir is its folder.
	Dir = paths.State + "/net"
	// StatusFile has a Daemon.
	StatusFile = Dir + "/status.json"
	// Socket is where it answers for plans (HTTP).
	Socket = Dir + "/network.sock"
	// PlanPath is the path of a plan there: GET of the file that it uses, POST of another one.
	PlanPath = "/plan"
)

// Network is the state of the network.
type Network struct {
	Links  []Link   `json:"links"`
	Routes []Route  `json:"routes"` // of the main table, at most 1000
	DNS    []string `json:"dns"`    // of /etc/resolv.conf
	Search []string `json:"search"`
	Daemon *Daemon  `json:"service,omitempty"` // nil: no network service has run
}

// Link is a link.
type Link struct {
	Name      string    `json:"name"`
	Index     int       `json:"index"`
	Kind      string    `json:"kind,omitempty"` // of the kernel; empty for a device
	State     string    `json:"state"`          // State*
	MAC       string    `json:"mac,omitempty"`
	MTU       int       `json:"mtu"`
	Driver    string    `json:"driver,omitempty"`
	Path      string    `json:"path,omitempty"`   // of its device
	Master    string    `json:"master,omitempty"` // bond, bridge or VRF
	Addresses []Address `json:"addresses"`
	Leases    []Lease   `json:"leases,omitempty"`
}

// States of a link.
const (
	StateDown      = "down"
	StateNoCarrier = "no carrier"
	StateUp        = "up"
)

// Address is an address of a link.
type Address struct {
	Prefix   string `json:"prefix"`
	Note     string `json:"note,omitempty"`     // tentative, duplicate, deprecated
	ValidFor int    `json:"validFor,omitempty"` // seconds; 0: it does not end
	// PreferredFor is after how many seconds it is deprecated: no new connection uses it then. 0: it is, or is not
	// before it ends.
	PreferredFor int `json:"preferredFor,omitempty"`
}

// Lease is a lease of DHCP.
type Lease struct {
	Family   int      `json:"family"`
	Address  string   `json:"address,omitempty"`
	Server   string   `json:"server,omitempty"`
	Prefixes []string `json:"prefixes,omitempty"`
	NTP      []string `json:"ntp,omitempty"`
	ValidFor int      `json:"validFor,omitempty"` // seconds; 0: it does not end
}

// Route is a route.
type Route struct {
	Text string `json:"text"` // as ip-route(8) writes it
	By   string `json:"by"`   // kernel, boot, static, ra, dhcp, keelson, or a number
}

// Daemon is what the network service says of itself.
type Daemon struct {
	File     string    `json:"file"`               // its configuration
	Since    time.Time `json:"since"`              // of the last change
	Errors   []string  `json:"errors,omitempty"`   // of the configuration, which is not used then
	Failed   []string  `json:"failed,omitempty"`   // changes that the kernel has refused, and why
	Missing  []string  `json:"missing,omitempty"`  // links of the configuration that are not there
	Problems []string  `json:"problems,omitempty"` // what cannot be done
	Notes    []string  `json:"notes,omitempty"`
}

// Plan is what would be changed.
type Plan struct {
	Changes  []string `json:"changes"`
	Missing  []string `json:"missing,omitempty"`
	Problems []string `json:"problems,omitempty"`
	Notes    []string `json:"notes,omitempty"`
	Error    string   `json:"error,omitempty"` // why there is none
}
