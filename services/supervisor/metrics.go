package supervisor

import (
	"context"
	"errors"
	"maps"

	"keelson/services/machine"
	"keelson/services/metrics"
)

// Metrics returns what is known of the services, for metrics.Gather.
func (s *Supervisor) Metrics(ctx context.Context) (all []metrics.Service, err error) {
	answer := make(chan []metrics.Service, 1)
	if !s.post(func() { answer <- s.measured() }) {
		return nil, errors.New("the supervisor is ending")
	}
	select {
	case all := <-answer:
		return all, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.ended:
		return nil, errors.New("the supervisor ended")
	}
}

func (s *Supervisor) measured() (all []metrics.Service) {
	for _, name := range s.services.names {
		svc := s.services.byName[name]
		m := metrics.Service{
			Name: name, State: string(svc.state), Up: svc.pid > 0, Ready: svc.state == machine.Running,
			Restarts: svc.restarts, Exits: maps.Clone(svc.exits), Start: svc.started - svc.launched, PID: svc.pid,
		}
		if svc.task != nil && svc.pid > 0 {
			m.Cgroup = svc.task.Placement().Path
		}
		all = append(all, m)
	}
	return all
}
