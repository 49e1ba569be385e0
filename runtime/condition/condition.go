// Package condition has what a service may wait for beside other services: a device, a
// mount, a path, the network, the clock. Package conditions (services) watches them.
package condition

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Kinds of conditions.
const (
	Clock  = "clock"  // the kernel's clock is synchronised
	DNS    = "dns"    // resolv.conf(5) names a server
	Device = "device" // there is a device node, or a link to one
	Mount  = "mount"  // something is mounted there
	Net    = "net"    // Online, or the name of an interface that is up and has an address
	Path   = "path"   // there is a file of any kind
)

// Online is the condition of kind Net that there is a default route.
const Online = "online"

// Condition is something that is so or not. It can be a key of a map.
type Condition struct {
	Kind string
	Arg  string // an absolute path, or the name of an interface; empty for Clock and DNS
}

func (c Condition) String() string {
	if c.Arg == "" {
		return c.Kind
	}
	return c.Kind + ":" + c.Arg
}

// Is reports whether a text is meant as a condition and not as the name of a service.
func Is(text string) bool { return text == Clock || text == DNS || strings.Contains(text, ":") }

// Parse parses KIND:ARGUMENT, clock or dns. The error says what is wanted.
func Parse(text string) (Condition, error) {
	kind, arg, hasArg := strings.Cut(text, ":")
	c := Condition{kind, arg}
	switch kind {
	case Clock, DNS:
		if hasArg {
			return Condition{}, fmt.Errorf("%q: want %s without more", text, kind)
		}
	case Device, Mount, Path:
		if !path.IsAbs(arg) || path.Clean(arg) != arg || strings.ContainsAny(arg, "\x00\n") {
			return Condition{}, fmt.Errorf("%q: want an absolute path after %s:, without . and .. and double slashes", text, kind)
		}
		if kind != Mount && (strings.HasPrefix(arg, "/proc/") || strings.HasPrefix(arg, "/sys/")) {
			return Condition{}, fmt.Errorf("%q: the kernel does not say when files appear in /proc and /sys", text)
		}
	case Net:
		if arg == "" || len(arg) >= unix.IFNAMSIZ || strings.ContainsAny(arg, "/: \t\n\x00") || arg == "." || arg == ".." {
			return Condition{}, fmt.Errorf("%q: want net:%s, or net: and the name of an interface", text, Online)
		}
	default:
		return Condition{}, fmt.Errorf("%q: want device:/dev/NAME, mount:/PATH, path:/PATH, net:online, net:INTERFACE, dns or clock", text)
	}
	return c, nil
}
