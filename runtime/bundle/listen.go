package bundle

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Socket is a socket that the supervisor opens for a service and keeps (keelson.listen).
type Socket struct {
	Name    string // for LISTEN_FDNAMES of sd_listen_fds_with_names(3); empty: the service's
	Network string // tcp, udp or unix
	Address netip.AddrPort
	Any     bool   // tcp, udp: all addresses of the machine; Address has only the port
	Path    string // unix
}

// Where returns the address as it is written in an annotation, without a name.
func (s Socket) Where() string {
	switch {
	case s.Network == "unix":
		return "unix:" + s.Path
	case s.Any:
		return fmt.Sprintf("%s:%d", s.Network, s.Address.Port())
	}
	return s.Network + ":" + s.Address.String()
}

// MaxSockets is how many sockets a service can have.
const MaxSockets = 32

// ParseListen reads [NAME=]tcp:[ADDRESS:]PORT, udp:[ADDRESS:]PORT and unix:/PATH,
// separated by spaces.
func ParseListen(value string) ([]Socket, error) {
	var all []Socket
	for _, word := range strings.Fields(value) {
		s, err := parseSocket(word)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
		if slices.ContainsFunc(all, func(o Socket) bool { return o.Where() == s.Where() }) {
			return nil, fmt.Errorf("%s: it is listed twice", word)
		}
		all = append(all, s)
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("want sockets such as tcp:80, udp:[::1]:53 or unix:/run/web.sock, separated by spaces")
	case len(all) > MaxSockets:
		return nil, fmt.Errorf("%d sockets are more than %d", len(all), MaxSockets)
	}
	return all, nil
}

func listen(to *[]Socket, value string) string {
	all, err := ParseListen(value)
	if err != nil {
		return err.Error()
	}
	*to = all
	return ""
}

// socketName is what LISTEN_FDNAMES may hold: names are separated by colons.
var socketName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`) })

func parseSocket(word string) (s Socket, err error) {
	kind, target, _ := strings.Cut(word, ":")
	if name, rest, named := strings.Cut(kind, "="); named {
		if !socketName().MatchString(name) {
			return s, errors.New("a name has 1 to 64 letters, digits, dots, hyphens and underscores")
		}
		s.Name, kind = name, rest
	}
	switch s.Network = kind; kind {
	case "unix":
		s.Path = target
		err = checkSocketPath(target)
	case "tcp", "udp":
		err = s.parseAddress(target)
	default:
		err = errors.New("want tcp:[ADDRESS:]PORT, udp:[ADDRESS:]PORT or unix:/PATH")
	}
	if err != nil {
		return Socket{}, err
	}
	return s, nil
}

// pathLimit is the length of the longest path of a socket (unix(7)).
const pathLimit = 107

func checkSocketPath(p string) error {
	switch {
	case !strings.HasPrefix(p, "/") || path.Clean(p) != p || p == "/":
		return errors.New("unix needs the absolute path of a socket, with neither . nor .. in it")
	case len(p) > pathLimit:
		return fmt.Errorf("the path is longer than %d bytes", pathLimit)
	}
	return noNUL(p)
}

// parseAddress reads PORT, which means all addresses, or ADDRESS:PORT. Addresses with a
// zone are refused, because the number of an interface is not known before the boot. So are
// addresses that bind(2) always refuses or on which nothing can be received.
func (s *Socket) parseAddress(target string) error {
	host, service, err := net.SplitHostPort(target)
	if s.Any = !strings.Contains(target, ":"); s.Any {
		host, service, err = "0.0.0.0", target, nil
	}
	if err != nil {
		return errors.New("want PORT, IPV4:PORT or [IPV6]:PORT")
	}
	port, err := parsePort(service)
	if err != nil {
		return err
	}
	addr, err := netip.ParseAddr(host)
	addr = addr.Unmap()
	switch {
	case err != nil || addr.Zone() != "":
		return errors.New("the host is not an address without a zone")
	case addr.IsMulticast() || addr == broadcast || addr.Is6() && addr.IsLinkLocalUnicast():
		return errors.New("nothing can listen on a multicast, broadcast or link-local IPv6 address")
	}
	s.Address = netip.AddrPortFrom(addr, port)
	return nil
}

// parsePort reads the number of a port.
func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, errors.New("the port is not one of 1 to 65535")
	}
	return uint16(port), nil
}

// CheckTogether removes settings that other settings of the bundle rule out, and returns why.
// It warns of probes that are of no use.
func (b *Bundle) CheckTogether() []error { return append(b.checkListen(), b.checkOverlap()...) }

// checkOverlap ignores keelson.swap=overlap for a service that cannot run twice.
func (b *Bundle) checkOverlap() []error {
	why := ""
	switch {
	case b.Settings.Swap != SwapOverlap:
	case b.Settings.Ready.Kind == "log" || b.Settings.Health.Kind == "log":
		why = "both versions write the same log, in which a probe finds lines of the other: use another probe"
	case len(b.Runtime.Interfaces) > 0:
		why = "two versions cannot have the same network interfaces (runtime.interfaces)"
	case len(b.Runtime.BindNS.Paths()) > 0:
		why = "two versions cannot have the same names for their namespaces (runtime.bindNS)"
	}
	if why == "" {
		return nil
	}
	b.Settings.Swap = SwapReplace
	return []error{&SettingError{SettingsPrefix + "swap", SwapOverlap, why}}
}

// checkListen removes the sockets of keelson.listen from the settings of a bundle that
// cannot use them. It returns why, or warnings of probes that are of no use with a kept
// socket.
func (b *Bundle) checkListen() (warnings []error) {
	if len(b.Settings.Listen) == 0 {
		return nil
	}
	if !b.ownNamespace(specs.PIDNamespace) {
		b.Settings.Listen = nil
		key := SettingsPrefix + "listen"
		return []error{&SettingError{key, b.Spec.Annotations[key],
			"the service needs a PID namespace of its own, because LISTEN_PID is the ID of its process there"}}
	}
	for _, check := range []struct {
		name  string
		probe Probe
	}{{"health", b.Settings.Health}, {"ready", b.Settings.Ready}} {
		if why := b.defeats(check.probe); why != "" {
			warnings = append(warnings, &SettingError{SettingsPrefix + check.name, check.probe.String(), why})
		}
	}
	return warnings
}

// ownNamespace reports whether the container gets a new namespace of a kind.
func (b *Bundle) ownNamespace(kind specs.LinuxNamespaceType) bool {
	return b.Spec.Linux != nil && slices.ContainsFunc(b.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == kind && n.Path == ""
	})
}

// defeats says why a probe of a kept socket is of no use; empty: it is. The socket accepts
// connections whether or not the service runs, and it is in the network namespace of the
// machine.
func (b *Bundle) defeats(p Probe) string {
	for _, s := range b.Settings.Listen {
		if !s.answers(p) {
			continue
		}
		switch {
		case p.Kind != "unix" && !b.sharesNetwork():
			return fmt.Sprintf("the kept socket %s is in the machine's network namespace, and the probe runs in that of the service: use notify, exec or log", s.Where())
		case p.Kind != "http":
			return fmt.Sprintf("the kept socket %s accepts connections before the service does: use http, notify, exec or log", s.Where())
		}
	}
	return ""
}

// sharesNetwork reports whether the service is in the network namespace of the machine.
func (b *Bundle) sharesNetwork() bool {
	return b.Spec.Linux == nil || !slices.ContainsFunc(b.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.NetworkNamespace
	})
}

// answers reports whether a probe connects to the socket.
func (s Socket) answers(p Probe) bool {
	if p.Kind == "unix" {
		return s.Network == "unix" && s.Path == p.Path
	}
	return s.Network == "tcp" && slices.ContainsFunc(p.Addresses, func(a netip.AddrPort) bool {
		return a.Port() == s.Address.Port() && (s.Any || s.Address.Addr().IsUnspecified() || s.Address.Addr() == a.Addr())
	})
}
