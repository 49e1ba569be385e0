package task

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"keelson/runtime/bundle"
	"keelson/services/sockets/offer"
)

// errSocketsIgnored is returned when the image has another shim, which does not ask for
// the sockets.
var errSocketsIgnored = errors.New("keelson.listen: the containerd-shim-runc-v2 of this image does not pass sockets to containers")

// offerSockets opens the sockets of the service, offers them to its shim and describes
// them in the environment of its process (sd_listen_fds(3)), which has process ID 1. It
// returns nil for a service without sockets.
func (t *Task) offerSockets(e *bundle.Edit) (*offer.Offer, error) {
	listen := t.spec.Bundle.Settings.Listen
	if len(listen) == 0 {
		return nil, nil
	}
	files, err := t.spec.Sockets()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range listen {
		names = append(names, cmp.Or(s.Name, t.spec.Name))
	}
	e.Env = append(e.Env, fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_PID=1", "LISTEN_FDNAMES="+strings.Join(names, ":"))
	return offer.New(t.runner.Offers, t.spec.Bundle.Namespace(), t.spec.id(), files)
}
