package gate

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"

	"keelson/services/gate/serial"
)

// Schemes of the addresses at which the gate listens.
const (
	TCP    = "tcp"    // tcp://[HOST]:PORT
	Vsock  = "vsock"  // vsock://:PORT
	Serial = "serial" // serial:NAME of a virtio-serial port, or serial:/dev/PATH
)

// Listen listens at an address.
func Listen(address string) (net.Listener, error) {
	scheme, rest, _ := strings.Cut(address, ":")
	var l net.Listener
	var err error
	switch scheme {
	case TCP:
		l, err = net.Listen("tcp", strings.TrimPrefix(rest, "//"))
	case Vsock:
		var port uint64
		if port, err = strconv.ParseUint(strings.TrimPrefix(rest, "//:"), 10, 32); err == nil {
			// vsock.Listen would need /dev/vsock, for the machine's own address.
			l, err = vsock.ListenContextID(unix.VMADDR_CID_ANY, uint32(port), nil)
		}
	case Serial:
		l, err = serial.Listen(rest)
	default:
		err = fmt.Errorf("want %s://[HOST]:PORT, %s://:PORT or %s:NAME", TCP, Vsock, Serial)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s: %w", address, err)
	}
	return l, nil
}
