package supervisor

import (
	"time"

	"keelson/services/machine"
)

const (
	// stopMargin is added to the longest stop for the deadline of PID 1.
	stopMargin = 5 * time.Second
	// blindTime is how long a shutdown waits for containerd to say what runs.
	blindTime = 2 * time.Second
)

// stopAll stops all services at shutdown. Nothing is started any more.
func (s *Supervisor) stopAll() {
	s.stopping = true
	close(s.down)
	s.recorder.supervisor("stopping", "all services, for the shutdown")
	s.stopLater(s.services.names)
	if s.mayRun() {
		time.AfterFunc(blindTime, func() { s.send(s.takeOverBlindly) })
	}
}

// stopLater stops services as soon as those that were started after them, and are to be
// stopped too, have ended.
func (s *Supervisor) stopLater(names []string) {
	for _, name := range names {
		s.services.toStop[name] = true
		if svc := s.services.byName[name]; svc.trial != nil {
			svc.trial.stopOrdered = true
		}
	}
	s.reconcile()
}

// stopNext stops the services to be stopped that no other needs any more.
func (s *Supervisor) stopNext() {
	if s.mayRun() {
		return // They are stopped when they are known.
	}
	for _, name := range s.services.names {
		svc := s.services.byName[name]
		if !s.services.toStop[name] || s.services.isNeeded(name) {
			continue
		}
		if svc.state.Settled() {
			delete(s.services.toStop, name)
			s.changed = true // Others may have waited for this one.
		}
		s.apply(svc, machine.Stop)
	}
}

// isNeeded reports whether a service that is to be stopped was started after this one and
// has not ended.
func (a *services) isNeeded(name string) bool {
	for _, other := range a.graph.After(name) {
		if a.toStop[other] && !a.byName[other].state.Settled() {
			return true
		}
	}
	return false
}
