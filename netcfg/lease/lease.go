// Package lease has what the network service and the DHCP client tell each other, in files: which
// links ask for a lease ([Request]), and which lease a link has ([Lease]).
//
// The files are replaced as a whole. Times are of CLOCK_BOOTTIME, so that a jump of the clock
// changes nothing, and a suspended machine's leases end in time.
package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"keelson/runtime/durable"
	"keelson/runtime/readfile"
)

// Places of files.
const (
	// RequestFile has the Request. The DHCP client runs as long as it exists.
	RequestFile = "/run/keelson/net/dhcp.json"
	// Dir has a file for each lease.
	Dir = "/run/keelson/net/leases"
	// KeptDir has leases of earlier boots, if it is on a disk.
	KeptDir = "/var/lib/keelson/net/leases"
)

const sizeLimit = 256 << 10

// Request says which links ask for leases.
type Request struct {
	Links []Link `json:"links"`
}

// Link is a link that asks for leases.
type Link struct {
	Name  string   `json:"name"`
	DHCP4 *Options `json:"dhcp4,omitempty"`
	DHCP6 *Options `json:"dhcp6,omitempty"`
}

// Options say how a link asks, and what it takes.
type Options struct {
	Identifier   string `json:"identifier,omitempty"` // "mac" or "duid"
	ClientID     string `json:"clientID,omitempty"`   // IPv4, in hexadecimal: option 61 in place of Identifier
	Metric       int    `json:"metric"`               // of routes
	UseRoutes    bool   `json:"useRoutes"`
	UseMTU       bool   `json:"useMTU"`
	SendHostname bool   `json:"sendHostname"`
	Hostname     string `json:"hostname,omitempty"` // sent instead of the machine's
	Prefixes     bool   `json:"prefixes,omitempty"` // DHCPv6: ask for prefixes to delegate
}

// Lease is what a server has given to a link.
type Lease struct {
	Link     string         `json:"link"`
	Family   int            `json:"family"` // 4 or 6
	Address  netip.Prefix   `json:"address,omitzero"`
	Server   netip.Addr     `json:"server,omitzero"`
	ServerID []byte         `json:"serverID,omitempty"` // DHCPv6: the server's DUID
	Routers  []netip.Addr   `json:"routers,omitempty"`
	Routes   []Route        `json:"routes,omitempty"`
	DNS      []netip.Addr   `json:"dns,omitempty"`
	Domain   string         `json:"domain,omitempty"`
	Search   []string       `json:"search,omitempty"`
	Hostname string         `json:"hostname,omitempty"`
	NTP      []netip.Addr   `json:"ntp,omitempty"`
	MTU      int            `json:"mtu,omitempty"`
	Prefixes []netip.Prefix `json:"prefixes,omitempty"` // delegated
	Obtained time.Duration  `json:"obtained"`           // all times since the boot, in nanoseconds
	Renew    time.Duration  `json:"renew"`
	Rebind   time.Duration  `json:"rebind"`
	Expires  time.Duration  `json:"expires"`
	// Preferred is when the address is deprecated: no new connection is to use it (RFC 4862 section 5.5.4).
	// IPv6 only.
	Preferred time.Duration `json:"preferred,omitempty"`
}

// Forever is the time of a lease that does not end.
const Forever = time.Duration(1<<63 - 1)

// Route is a route of a lease.
type Route struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via,omitzero"` // on the link if it is missing or 0.0.0.0
}

// Left returns how long a lease is valid; Forever if it does not end. now is the time since the
// boot (timeline.Now).
func (l Lease) Left(now time.Duration) time.Duration {
	if l.Expires == Forever {
		return Forever
	}
	return max(0, l.Expires-now)
}

// WriteRequest replaces the request, or removes it if no link asks. Without a change it does nothing.
func WriteRequest(file string, r Request) error {
	if len(r.Links) == 0 {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot end the requests for leases: %w", err)
		}
		return nil
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if old, err := readfile.Limited(file, sizeLimit); err == nil && string(old) == string(text) {
		return nil
	}
	return durable.Replace(file, text, 0o644)
}

// ReadRequest reads the request; an empty one if there is none.
func ReadRequest(file string) (r Request, err error) {
	_, err = readfile.JSON(file, sizeLimit, &r)
	return r, err
}

// name returns the name of the file of a lease. Names of links have no slash.
func name(link string, family int) string { return fmt.Sprintf("%s.%d.json", link, family) }

// Write replaces the file of a lease. On a disk it survives a power cut.
func Write(dir string, l Lease, write func(string, []byte, fs.FileMode) error) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, name(l.Link, l.Family)), text, 0o644)
}

// Remove removes the file of a lease, if there is one.
func Remove(dir, link string, family int) error {
	err := os.Remove(filepath.Join(dir, name(link, family)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Read reads one lease. It returns false if there is none.
func Read(dir, link string, family int) (l Lease, known bool, err error) {
	known, err = readfile.JSON(filepath.Join(dir, name(link, family)), sizeLimit, &l)
	if err == nil && known && (l.Link != link || l.Family != family) {
		return Lease{}, false, fmt.Errorf("%s is of another lease", filepath.Join(dir, name(link, family)))
	}
	return l, known, err
}

// ReadAll reads all leases that are readable, with the errors of the others.
func ReadAll(dir string) (all []Lease, err error) {
	entries, readErr := os.ReadDir(dir)
	if errors.Is(readErr, fs.ErrNotExist) {
		return nil, nil
	}
	err = readErr
	for _, e := range entries {
		for _, family := range []int{4, 6} {
			link, ok := strings.CutSuffix(e.Name(), fmt.Sprintf(".%d.json", family))
			if !ok {
				continue
			}
			l, known, problem := Read(dir, link, family)
			if problem != nil {
				err = errors.Join(err, problem)
			} else if known {
				all = append(all, l)
			}
		}
	}
	return all, err
}
