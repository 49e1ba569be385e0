package supervisor

import (
	"path/filepath"

	"keelson/services/containerd"
	"keelson/services/sockets/offer"
)

// offers returns the folder in which sockets are offered to shims.
func (s *Supervisor) offers() string { return filepath.Join(s.options.StateDir, "sockets") }

// sweepOffers removes offers of an earlier supervisor. A container that is not made yet may still ask:
// it must fail then, and not start without its sockets.
func (s *Supervisor) sweepOffers(found map[string]containerd.Task) {
	err := offer.Sweep(s.offers(), func(id string) bool {
		t, exists := found[id]
		return exists && t.PID == 0 || !exists && s.services.byName[id] != nil
	})
	if err != nil {
		s.options.Logger.Error("sockets of an earlier supervisor remain", "error", err)
	}
}

// releaseSockets closes the kept sockets that a service does not need any more: all when it
// has stopped for good, else those that its bundle does not list. During a swap those of both
// versions are kept.
func (s *Supervisor) releaseSockets(name string) {
	svc := s.services.byName[name]
	switch {
	case s.swapping[name] || svc != nil && svc.trial != nil:
	case svc == nil || svc.state.Settled():
		s.sockets.Retain(name, nil)
	default:
		s.sockets.Retain(name, svc.settings().Listen)
	}
}
