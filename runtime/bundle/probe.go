package bundle

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/kballard/go-shellquote"
	"golang.org/x/sys/unix"
)

// Probe is a way to learn the state of a service. The zero value is none. Only
// the field that its kind uses is set.
type Probe struct {
	Kind   string // notify, exec, tcp, http, unix or log; empty for none
	Target string // what follows the colon, as written

	Addresses []netip.AddrPort // tcp, http: tried in this order
	Path      string           // http: path and query of the request; unix: of the socket
	Args      []string         // exec: the command, at least one word
	Pattern   *regexp.Regexp   // log
}

// String is the probe as its annotation has it.
func (p Probe) String() string {
	if p.Target == "" {
		return p.Kind
	}
	return p.Kind + ":" + p.Target
}

// probeKinds holds, for each kind, what reads its target. Kinds without a target
// are not among them.
var probeKinds = map[string]func(*Probe) error{
	"exec": (*Probe).parseExec,
	"tcp":  (*Probe).parseTCP,
	"http": (*Probe).parseHTTP,
	"unix": (*Probe).parseUnix,
	"log":  (*Probe).parseLog,
}

// ParseProbe reads none, notify, exec:COMMAND, tcp:[ADDRESS:]PORT,
// http:[ADDRESS:]PORT/PATH, unix:/PATH or log:REGEX. What it accepts can be run.
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

// parseExec splits the command's words as a shell does; no shell runs it.
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
	if !strings.HasPrefix(p.Target, "/") {
		return errors.New("unix needs an absolute path")
	}
	p.Path = p.Target
	return noNUL(p.Target)
}

func (p *Probe) parseLog() (err error) {
	if p.Target == "" {
		return errors.New("log needs a regular expression")
	}
	p.Pattern, err = regexp.Compile(p.Target)
	return err
}

// noNUL refuses what no system call takes.
func noNUL(s string) error {
	if strings.ContainsRune(s, 0) {
		return errors.New("a NUL byte is not allowed")
	}
	return nil
}

// addresses reads PORT or HOST:PORT. A port alone, or that of localhost, is
// looked for at 127.0.0.1, then at ::1. Other names are refused: they may mean
// one address to the host and another to the container. Addresses with a zone are
// refused too: interfaces have different numbers in the container's network.
func addresses(target string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(target)
	if !strings.Contains(target, ":") {
		host, service, err = "localhost", target, nil
	}
	if err != nil {
		return nil, errors.New("want PORT, IPV4:PORT or [IPV6]:PORT")
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return nil, errors.New("the port is not one of 1 to 65535")
	}
	hosts := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	if host != "localhost" {
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" {
			return nil, errors.New("the host is neither localhost nor an address without a zone")
		}
		hosts = []netip.Addr{addr.Unmap()}
	}
	var all []netip.AddrPort
	for _, h := range hosts {
		all = append(all, netip.AddrPortFrom(h, uint16(port)))
	}
	return all, nil
}

// Real-time signals as C libraries number them: the first two are theirs.
const (
	rtMin = syscall.Signal(34)
	rtMax = syscall.Signal(64)
)

// signal reads a name with or without SIG, a number, or SIGRTMIN+N.
func signal(to *syscall.Signal, value string) string {
	found := signalNumber(value)
	if found <= 0 || found > rtMax {
		return "want a signal such as SIGTERM, INT, 15 or SIGRTMIN+3"
	}
	*to = found
	return ""
}

func signalNumber(value string) syscall.Signal {
	if n, err := strconv.ParseUint(value, 10, 8); err == nil {
		return syscall.Signal(n)
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(value), "SIG")
	if rest, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		return offsetFrom(rtMin, rest, "+")
	}
	if rest, ok := strings.CutPrefix(name, "SIGRTMAX"); ok {
		return offsetFrom(rtMax, rest, "-")
	}
	return unix.SignalNum(name)
}

func offsetFrom(base syscall.Signal, rest, sign string) syscall.Signal {
	if rest == "" {
		return base
	}
	digits, ok := strings.CutPrefix(rest, sign)
	n, err := strconv.ParseUint(digits, 10, 8)
	if !ok || err != nil || syscall.Signal(n) > rtMax-rtMin {
		return 0
	}
	if sign == "-" {
		return base - syscall.Signal(n)
	}
	return base + syscall.Signal(n)
}
