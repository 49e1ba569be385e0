package bundle

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// probe reads none, notify, exec:COMMAND, tcp:PORT, http:PORT/PATH,
// unix:/PATH or log:REGEX.
func probe(to *Probe, value string) string {
	kind, target, hasTarget := strings.Cut(value, ":")
	var good bool
	switch kind {
	case "none":
		*to = Probe{}
		return noTarget(hasTarget)
	case "notify":
		*to = Probe{Kind: kind}
		return noTarget(hasTarget)
	case "exec":
		good = strings.TrimSpace(target) != ""
	case "tcp":
		good = isAddress(target)
	case "http":
		where, _, _ := strings.Cut(target, "/")
		good = isAddress(where)
	case "unix":
		good = strings.HasPrefix(target, "/")
	case "log":
		_, err := regexp.Compile(target)
		good = err == nil && target != ""
	}
	if !good {
		return "want none, notify, exec:COMMAND, tcp:[ADDRESS:]PORT, http:[ADDRESS:]PORT/PATH, unix:/PATH or log:REGEX"
	}
	*to = Probe{Kind: kind, Target: target}
	return ""
}

func noTarget(has bool) string {
	if has {
		return "takes nothing after a colon"
	}
	return ""
}

// isAddress takes PORT, or ADDRESS:PORT where the address is a number or
// localhost.
func isAddress(s string) bool {
	if host, port, err := net.SplitHostPort(s); err == nil {
		if _, err := netip.ParseAddr(host); err != nil && host != "localhost" {
			return false
		}
		s = port
	}
	port, err := strconv.ParseUint(s, 10, 16)
	return err == nil && port > 0
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
