package supervisor

import (
	"fmt"
	"slices"

	"keelson/services/events"
	"keelson/services/machine"
)

// arrange computes again which services wait for which others. Errors are logged once.
func (s *Supervisor) arrange() {
	for _, err := range s.services.arrange() {
		if !s.warned[err.Error()] {
			s.warned[err.Error()] = true
			s.options.Logger.Warn(err.Error())
		}
	}
	s.store.saveStopDeadline(s.services.stopTime() + stopMargin)
	s.watchConditions()
}

// reconcile starts and stops services that a change allows to be started and stopped,
// until nothing changes any more.
func (s *Supervisor) reconcile() {
	s.changed = true
	if s.reconciling {
		return
	}
	s.reconciling = true
	for s.changed {
		s.changed = false
		for _, name := range s.services.names {
			if svc := s.services.byName[name]; svc.state == machine.Waiting {
				s.startIfPossible(svc)
			}
		}
		s.stopNext()
	}
	s.reconciling = false
}

// startIfPossible starts a service that is waiting, unless there is an obstacle.
func (s *Supervisor) startIfPossible(svc *service) {
	if s.connected && (svc.reload || svc.instance != "" && svc.besideOf == nil) {
		svc.reload = false
		if svc.besideOf == nil && svc.instance != "" {
			s.removeContainer(svc.name, svc.instance, svc.namespace()) // containerd may have been dead at its end.
			svc.instance = ""
		}
		if svc.trial != nil {
			svc.trial.leaving = false
		}
		svc.removeMounts(s.options.Logger) // as the bundle was before
		s.reread(svc)
	}
	o := s.obstacle(svc)
	svc.status = o.why
	if o.lasting && !svc.blocked {
		svc.reason = "waits: " + o.why
		svc.recordFirst(firstDown)
		s.event(svc, svc.reason, 0)
		s.recorder.service(svc, events.Event{Kind: events.Blocked, Text: o.why})
	}
	if svc.awaiting != o.condition {
		svc.awaiting = o.condition
		s.changed = true // Services after it wait for a condition too.
		s.waiters.wake(&s.services)
		s.announce()
	}
	if svc.blocked != o.lasting {
		svc.blocked = o.lasting
		s.changed = true
		s.store.save(svc)
		s.waiters.wake(&s.services)
		s.announce()
	}
	switch {
	case o.why == "":
		s.apply(svc, machine.Go)
	case o.lasting:
		s.followSwap(svc)
	}
}

// obstacle keeps a service from being started.
type obstacle struct {
	why       string // empty: there is none
	lasting   bool   // until an order or another bundle removes it
	condition bool   // it is a condition, or a service that waits for one, which may never be met
}

func (s *Supervisor) obstacle(svc *service) obstacle {
	switch {
	case s.stopping:
		return obstacle{why: "the system is shutting down"}
	case !s.connected:
		return obstacle{why: "containerd does not answer yet"}
	}
	if o := s.services.obstacle(svc); o.why != "" {
		return o
	}
	if unmet := s.unmet(svc); unmet != "" {
		return obstacle{why: "waits for " + unmet, condition: true}
	}
	return obstacle{}
}

// obstacle is another service that has to be ready first.
func (a *services) obstacle(svc *service) obstacle {
	for _, name := range a.graph.Missing(svc.name) {
		return obstacle{why: fmt.Sprintf("requires %s, which this image does not have", name), lasting: true}
	}
	for _, name := range a.graph.Requires(svc.name) {
		other := a.byName[name]
		switch {
		case other.state == machine.Running || other.state == machine.Exited:
		case other.state.Settled() || other.blocked:
			return obstacle{why: fmt.Sprintf("requires %s, which is %s", name, other.state), lasting: true}
		}
	}
	for _, name := range a.graph.Before(svc.name) {
		other := a.byName[name]
		needed := slices.Contains(a.graph.Requires(svc.name), name)
		passed := other.state == machine.Running || other.state.Settled() || other.blocked || other.state == machine.Backoff && !needed
		if !passed {
			return obstacle{why: fmt.Sprintf("waits for %s, which is %s", name, other.state), condition: other.awaiting}
		}
	}
	return obstacle{}
}
