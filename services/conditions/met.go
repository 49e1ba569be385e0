package conditions

import (
	"bufio"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"

	"keelson/runtime/clock"
	"keelson/runtime/condition"
	"keelson/runtime/readfile"
	"keelson/runtime/resolvconf"
)

// met reports whether a condition is met now.
func met(c condition.Condition) bool {
	switch c.Kind {
	case condition.Clock:
		return clock.Synchronised()
	case condition.DNS:
		return namesServer(resolvConf)
	case condition.Device:
		info, err := os.Stat(c.Arg)
		return err == nil && info.Mode()&os.ModeDevice != 0
	case condition.Mount:
		found, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != c.Arg, i.Mountpoint == c.Arg })
		return err == nil && len(found) > 0
	case condition.Path:
		_, err := os.Stat(c.Arg)
		return err == nil
	case condition.Net:
		if c.Arg == condition.Online {
			return online()
		}
		return hasAddress(c.Arg)
	}
	return false
}

const (
	resolvConf = "/etc/resolv.conf"
	// resolvLimit is more than any program reads of it, in bytes.
	resolvLimit = 64 << 10
)

// namesServer reports whether a file in the format of resolv.conf(5) names a server.
func namesServer(file string) bool {
	text, err := readfile.Limited(file, resolvLimit)
	if err != nil {
		return false
	}
	servers, _ := resolvconf.Parse(string(text))
	return len(servers) > 0
}

func hasAddress(name string) bool {
	i, err := net.InterfaceByName(name)
	if err != nil || i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 {
		return false
	}
	addresses, err := i.Addrs()
	if err != nil {
		return false
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && (n.IP.IsGlobalUnicast() || n.IP.IsLoopback()) {
			return true
		}
	}
	return false
}

// online reports whether there is a default route, of IPv4 or IPv6.
func online() bool {
	for file, hasDefault := range map[string]func(io.Reader) bool{"/proc/net/route": defaultRoute4, "/proc/net/ipv6_route": defaultRoute6} {
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		found := hasDefault(f)
		_ = f.Close()
		if found {
			return true
		}
	}
	return false
}

// Flags of routes (linux/route.h).
const (
	routeUp     = 0x1
	routeReject = 0x200
)

// defaultRoute4 looks for a default route in the format of /proc/net/route: interface,
// destination, gateway, flags, three counters, mask, …, numbers in hexadecimal.
func defaultRoute4(r io.Reader) bool {
	for s := bufio.NewScanner(r); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) >= 8 && f[1] == "00000000" && f[7] == "00000000" && usable(f[3]) {
			return true
		}
	}
	return false
}

// defaultRoute6 does so in the format of /proc/net/ipv6_route: destination, its prefix
// length, source, its prefix length, next hop, metric, two counters, flags, interface.
func defaultRoute6(r io.Reader) bool {
	for s := bufio.NewScanner(r); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) >= 10 && f[0] == strings.Repeat("0", 32) && f[1] == "00" && f[9] != "lo" && usable(f[8]) {
			return true
		}
	}
	return false
}

func usable(flags string) bool {
	n, err := strconv.ParseUint(flags, 16, 32)
	return err == nil && n&routeUp != 0 && n&routeReject == 0
}
