package supervisor

import (
	"fmt"

	"keelson/runtime/bundle"
	"keelson/services/events"
	"keelson/services/machine"
	"keelson/services/pressure"
)

// Sheddable returns the services that may be restarted when memory is short: those that run, that would
// be started again, and that do not forbid it. One with a swap that has not ended is left
// alone.
func (s *Supervisor) Sheddable() (all []pressure.Service, err error) {
	err = s.ask(func() error {
		for _, name := range s.services.names {
			if svc := s.services.byName[name]; svc.sheddable() {
				all = append(all, svc.shed())
			}
		}
		return nil
	})
	return all, err
}

func (svc *service) sheddable() bool {
	settings := svc.settings()
	runs := svc.state == machine.Activating || svc.state == machine.Running
	return runs && svc.task != nil && svc.pid > 0 && svc.bundle != nil && svc.trial == nil && svc.besideOf == nil &&
		settings.Restart != bundle.RestartNever && settings.Pressure != bundle.PressureNever
}

func (svc *service) shed() pressure.Service {
	place := svc.task.Placement()
	one := pressure.Service{Name: svc.name, PID: svc.pid, Cgroup: place.Path}
	if place.Outer {
		one.Within = bundle.OwnCgroup
	}
	if p := svc.bundle.Spec.Process; p != nil && p.OOMScoreAdj != nil {
		one.Score = *p.OOMScoreAdj
	}
	return one
}

// Relieve restarts a service as one that is unhealthy, because it uses too much memory.
func (s *Supervisor) Relieve(which pressure.Service, why string) error {
	return s.ask(func() error {
		svc := s.services.byName[which.Name]
		if s.stopping || svc == nil || !svc.sheddable() || svc.pid != which.PID {
			return fmt.Errorf("service %s, which was to be restarted, has ended or is not the same any more", which.Name)
		}
		s.recorder.service(svc, events.Event{Kind: events.Pressure, Text: why})
		s.unfit(svc, "memory pressure: "+why)
		return nil
	})
}
