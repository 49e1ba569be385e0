package supervisor

import (
	"context"
	"errors"
	"slices"
	"time"

	"keelson/services/control"
	"keelson/services/versions"
)

// prepareTrial does all that can be done before the old version is stopped, and records the
// swap. On an error, nothing has changed.
func (s *Supervisor) prepareTrial(ctx context.Context, r control.Request, t *trial) error {
	err := s.find(ctx, r, t)
	if err == nil {
		err = s.checkNew(r.Verb, t)
	}
	if err == nil && t.Bundle != nil {
		err = s.sockets.Open(t.Name, t.Bundle.Settings.Listen)
	}
	if err == nil {
		err = s.versions.Begin(t.Name, t.Next, t.ran, t.stopped, versions.Record{At: time.Now(), By: r.Peer})
		if err != nil { // It may be recorded, but not synced.
			err = errors.Join(err, s.candidates.Abandon(t.Name))
		}
	}
	if err != nil {
		return errors.Join(err, s.candidates.Drop(&t.Candidate))
	}
	return nil
}

// find finds the new version.
func (s *Supervisor) find(ctx context.Context, r control.Request, t *trial) error {
	c, err := s.candidates.Find(ctx, r, t.Name, t.progress)
	t.Candidate = *c
	return err
}

// checkNew checks the new version, and that the service can be swapped now.
func (s *Supervisor) checkNew(verb string, t *trial) error {
	if err := s.candidates.Check(verb, &t.Candidate); err != nil {
		return err
	}
	if t.Bundle != nil && verb == control.Swap {
		t.probation = t.Bundle.Settings.SwapProbation
	}
	return s.ask(func() error {
		svc := s.services.byName[t.Name]
		t.ran = svc == nil || !svc.state.Settled()
		if t.Next == versions.Removed {
			t.stopped = s.runningDependents(t.Name)
		}
		if err := s.obstacleToSwap(t.Name); err != nil || t.Bundle == nil {
			return err
		}
		if t.overlaps(svc) {
			if err := s.canOverlap(t.Name, t); err != nil {
				return err
			}
		}
		return s.acceptable(t.Name, t.Bundle)
	})
}

// runningDependents returns the services that require a service and are to run.
func (s *Supervisor) runningDependents(name string) []string {
	return slices.DeleteFunc(slices.Clone(s.services.graph.Dependents(name)), func(other string) bool {
		return s.services.byName[other].state.Settled()
	})
}
