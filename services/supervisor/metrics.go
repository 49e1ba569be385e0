package supervisor

import (
	"maps"

	"keelson/runtime/logs"
	"keelson/services/machine"
	"keelson/services/metrics"
)

// Metrics returns what is known of the services, for metrics.Gather.
func (s *Supervisor) Metrics() (all []metrics.Service, err error) {
	err = s.ask(func() error {
		all = s.measured()
		return nil
	})
	return all, err
}

// countOf returns what counts the output of a service: of all its containers, since this supervisor was
// started.
func (s *Supervisor) countOf(name string) *logs.Count {
	if s.output[name] == nil {
		s.output[name] = &logs.Count{}
	}
	return s.output[name]
}

func (s *Supervisor) measured() (all []metrics.Service) {
	for _, name := range s.services.names {
		svc := s.services.byName[name]
		m := metrics.Service{
			Name: name, State: string(svc.state), Up: svc.pid > 0, Ready: svc.state == machine.Running,
			Restarts: svc.restarts, Exits: maps.Clone(svc.exits), Start: svc.started - svc.launched, PID: svc.pid,
		}
		if count := s.output[name]; count != nil {
			m.LogBytes, m.LogLost = count.Written.Load(), count.Lost.Load()
		}
		if svc.task != nil && svc.pid > 0 {
			m.Cgroup = svc.task.Placement().Path
		}
		all = append(all, m)
	}
	return all
}
