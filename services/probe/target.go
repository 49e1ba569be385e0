package probe

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// addresses reads PORT or HOST:PORT. A port alone, or that of localhost, is
// looked for at 127.0.0.1, then at ::1. Other names are not taken: whose
// names they are, the host's or the container's, could not be told.
func addresses(target string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(target)
	if !strings.Contains(target, ":") {
		host, service, err = "localhost", target, nil
	}
	if err != nil {
		return nil, errors.New("want PORT or ADDRESS:PORT")
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return nil, errors.New("port is not one of 1 to 65535")
	}
	hosts := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	if host != "localhost" {
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" {
			return nil, errors.New("host is neither an address nor localhost")
		}
		hosts = []netip.Addr{addr.Unmap()}
	}
	var all []netip.AddrPort
	for _, h := range hosts {
		all = append(all, netip.AddrPortFrom(h, uint16(port)))
	}
	return all, nil
}

// page is the target of an http probe.
type page struct {
	addresses []netip.AddrPort
	path      string // with the query, fit for a request line
}

// parsePage reads PORT, PORT/PATH or ADDRESS:PORT/PATH.
func parsePage(target string) (page, error) {
	where, path, _ := strings.Cut(target, "/")
	all, err := addresses(where)
	if err != nil {
		return page{}, err
	}
	for _, b := range []byte(path) {
		if b <= ' ' || b >= 0x7f || b == '#' {
			return page{}, errors.New("path is not fit for a request: write other characters as %XX")
		}
	}
	return page{addresses: all, path: "/" + path}, nil
}
