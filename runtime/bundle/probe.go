package bundle

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/kballard/go-shellquote"
)

// Probe is a check of a service's state. The zero value is no check. Only the field
// that its kind uses is set.
type Probe struct {
	Kind   string // notify, exec, tcp, http, unix or log; empty for none
	Target string // what follows the colon, as written

	Addresses []netip.AddrPort // tcp, http: tried in this order
	Path      string           // http: path and query of the request; unix: of the socket
	Args      []string         // exec: the command, at least one word
	Pattern   *regexp.Regexp   // log
}

// String returns the probe as it is written in an annotation.
func (p Probe) String() string {
	if p.Target == "" {
		return p.Kind
	}
	return p.Kind + ":" + p.Target
}

// probeKinds has the parser of each kind's target. Kinds without a target are not
// in it.
var probeKinds = map[string]func(*Probe) error{
	"exec": (*Probe).parseExec,
	"tcp":  (*Probe).parseTCP,
	"http": (*Probe).parseHTTP,
	"unix": (*Probe).parseUnix,
	"log":  (*Probe).parseLog,
}

// ParseProbe reads none, notify, exec:COMMAND, tcp:[ADDRESS:]PORT,
// http:[ADDRESS:]PORT/PATH, unix:/PATH or log:REGEX. A probe that it accepts can be
// run.
func ParseProbe(value string) (Probe, error) {
	kind, target, hasTarget := strings.Cut(value, ":")
	parse, known := probeKinds[kind]
	switch {
	case known:
		p := Probe{Kind: kind, Target: target}
		if err := parse(&p); err != nil {
			return Probe{}, err
		}
		return p, nil
	case kind != "none" && kind != "notify":
		return Probe{}, errors.New("want none, notify, exec:COMMAND, tcp:[ADDRESS:]PORT, http:[ADDRESS:]PORT/PATH, unix:/PATH or log:REGEX")
	case hasTarget:
		return Probe{}, fmt.Errorf("%s takes nothing after a colon", kind)
	case kind == "none":
		return Probe{}, nil
	}
	return Probe{Kind: kind}, nil
}

func probe(to *Probe, value string) string {
	p, err := ParseProbe(value)
	if err != nil {
		return err.Error()
	}
	*to = p
	return ""
}

// parseExec splits the command into words as a shell does. No shell runs it.
func (p *Probe) parseExec() (err error) {
	p.Args, err = shellquote.Split(p.Target)
	switch {
	case err != nil:
		return errors.New(strings.ToLower(err.Error()))
	case len(p.Args) == 0 || p.Args[0] == "":
		return errors.New("exec needs a command")
	}
	return noNUL(p.Target)
}

func (p *Probe) parseTCP() (err error) {
	p.Addresses, err = addresses(p.Target)
	return err
}

func (p *Probe) parseHTTP() (err error) {
	where, path, _ := strings.Cut(p.Target, "/")
	if p.Addresses, err = addresses(where); err != nil {
		return err
	}
	for _, b := range []byte(path) {
		if b <= ' ' || b >= 0x7f || b == '#' {
			return errors.New("the path holds a character that a request cannot have: write it as %XX")
		}
	}
	p.Path = "/" + path
	return nil
}

func (p *Probe) parseUnix() error {
	if !strings.HasPrefix(p.Target, "/") || strings.HasSuffix(p.Target, "/") {
		return errors.New("unix needs the absolute path of a socket")
	}
	p.Path = p.Target
	return noNUL(p.Target)
}

func (p *Probe) parseLog() (err error) {
	switch {
	case p.Target == "":
		return errors.New("log needs a regular expression")
	case strings.Contains(p.Target, "\n"):
		return errors.New("the expression is matched against single lines, which hold no line break")
	}
	p.Pattern, err = regexp.Compile(p.Target)
	return err
}

// noNUL refuses strings that system calls cannot take.
func noNUL(s string) error {
	if strings.ContainsRune(s, 0) {
		return errors.New("a NUL byte is not allowed")
	}
	return nil
}

// broadcast is the limited broadcast address (RFC 919).
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// addresses reads PORT or HOST:PORT. PORT alone and localhost:PORT mean 127.0.0.1,
// then ::1. Other names are refused: the host and the container may resolve them
// differently. Addresses with a zone are refused too: interfaces have different
// numbers in the container's network. So are addresses to which connect(2) always
// fails.
func addresses(target string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(target)
	if !strings.Contains(target, ":") {
		host, service, err = "localhost", target, nil
	}
	if err != nil {
		return nil, errors.New("want PORT, IPV4:PORT or [IPV6]:PORT")
	}
	port, err := parsePort(service)
	if err != nil {
		return nil, err
	}
	hosts := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	if host != "localhost" {
		addr, err := netip.ParseAddr(host)
		addr = addr.Unmap()
		switch {
		case err != nil || addr.Zone() != "":
			return nil, errors.New("the host is neither localhost nor an address without a zone")
		case addr.IsMulticast() || addr == broadcast || addr.Is6() && addr.IsLinkLocalUnicast():
			return nil, errors.New("nothing can connect to a multicast, broadcast or link-local IPv6 address")
		}
		hosts = []netip.Addr{addr}
	}
	var all []netip.AddrPort
	for _, h := range hosts {
		all = append(all, netip.AddrPortFrom(h, port))
	}
	return all, nil
}
