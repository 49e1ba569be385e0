package qemu

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// ParseForward reads HOST:GUEST or HOST:GUEST/udp. HOST 0 means a free port.
func ParseForward(s string) (Forward, error) {
	ports, proto, ok := strings.Cut(s, "/")
	if !ok {
		proto = "tcp"
	}
	host, guest, ok := strings.Cut(ports, ":")
	f := Forward{Protocol: proto}
	if !ok || (proto != "tcp" && proto != "udp") {
		return f, fmt.Errorf("cannot forward %q: want HOST:GUEST or HOST:GUEST/udp", s)
	}
	var err error
	if f.Host, err = port(host, 0); err != nil {
		return f, fmt.Errorf("cannot forward %q: %w", s, err)
	}
	if f.Guest, err = port(guest, 1); err != nil {
		return f, fmt.Errorf("cannot forward %q: %w", s, err)
	}
	return f, nil
}

func port(s string, least int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > 65535 {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return n, nil
}

// withPorts assigns a free host port to every forward without one.
func withPorts(forwards []Forward) ([]Forward, error) {
	out := append([]Forward(nil), forwards...)
	for i := range out {
		if out[i].Host != 0 {
			continue
		}
		p, err := freePort(out[i].Protocol)
		if err != nil {
			return nil, fmt.Errorf("cannot find a free port: %w", err)
		}
		out[i].Host = p
	}
	return out, nil
}

func freePort(protocol string) (int, error) {
	if protocol == "udp" {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).Port, nil
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
