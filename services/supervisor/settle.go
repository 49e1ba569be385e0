package supervisor

import (
	"fmt"
	"slices"

	"keelson/services/machine"
	"keelson/services/order"
)

// arrange finds out anew who waits for whom. What is wrong with that is told
// once.
func (s *Supervisor) arrange() {
	wants := map[string]order.Wants{}
	for name, svc := range s.services {
		settings := svc.settings()
		wants[name] = order.Wants{After: settings.After, Requires: settings.Requires}
	}
	var errs []error
	s.graph, errs = order.New(wants)
	for _, err := range errs {
		if !s.told[err.Error()] {
			s.told[err.Error()] = true
			s.options.Logger.Warn(err.Error())
		}
	}
	s.writeStopDeadline()
}

// settle starts and stops what a change allows to be started and stopped, until
// nothing changes any more.
func (s *Supervisor) settle() {
	s.again = true
	if s.settling {
		return
	}
	s.settling = true
	for s.again {
		s.again = false
		for _, name := range s.names() {
			if svc := s.services[name]; svc.state == machine.Waiting {
				s.check(svc)
			}
		}
		s.stopNext()
	}
	s.settling = false
}

// check lets a service start that nothing is in the way of.
func (s *Supervisor) check(svc *service) {
	if svc.reload && s.connected {
		svc.reload = false
		s.releaseMounts(svc) // of the bundle as it was
		s.reread(svc)
	}
	o := s.obstacle(svc)
	svc.status = o.why
	if o.dead && !svc.blocked {
		svc.reason = "waits: " + o.why
		svc.firstIs(down)
		s.event(svc, svc.reason, 0)
	}
	if svc.blocked != o.dead {
		svc.blocked = o.dead
		s.again = true
		s.save(svc)
		s.wakeWaiters()
		s.announce()
	}
	if o.why == "" {
		s.apply(svc, machine.Go)
	}
}

// obstacle is what keeps a service from being started.
type obstacle struct {
	why  string // empty: nothing
	dead bool   // and will, unless somebody does something
}

func (s *Supervisor) obstacle(svc *service) obstacle {
	switch {
	case s.stopping:
		return obstacle{why: "the system is shutting down"}
	case !s.connected:
		return obstacle{why: "containerd does not answer yet"}
	}
	for _, name := range s.graph.Missing(svc.name) {
		return obstacle{fmt.Sprintf("requires %s, which this image does not have", name), true}
	}
	for _, name := range s.graph.Requires(svc.name) {
		other := s.services[name]
		switch {
		case other.state == machine.Running || other.state == machine.Exited:
		case other.state.Settled() || other.blocked:
			return obstacle{fmt.Sprintf("requires %s, which is %s", name, other.state), true}
		}
	}
	for _, name := range s.graph.Before(svc.name) {
		other := s.services[name]
		needed := slices.Contains(s.graph.Requires(svc.name), name)
		passed := other.state == machine.Running || other.state.Settled() || other.blocked || other.state == machine.Backoff && !needed
		if !passed {
			return obstacle{why: fmt.Sprintf("waits for %s, which is %s", name, other.state)}
		}
	}
	return obstacle{}
}
