package supervisor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
	"keelson/services/control"
	"keelson/services/machine"
	"keelson/services/swap"
	"keelson/services/task"
)

// What the end of a swap needs is tried several times: the disk may be full, or no more files
// can be opened.
const (
	persistTries = 5
	persistDelay = time.Second
)

// persist changes the disk, if necessary by several attempts.
func (s *Supervisor) persist(service string, change func() error) (err error) {
	return s.attempt(s.ctx, "cannot record the end of a swap", service, change)
}

// attempt calls f until it succeeds, several times at most.
func (s *Supervisor) attempt(ctx context.Context, failure, service string, f func() error) (err error) {
	for i := range persistTries {
		if i > 0 && !backoff.Wait(ctx, persistDelay) {
			return err
		}
		if err = f(); err == nil || ctx.Err() != nil {
			return err
		}
		s.options.Logger.Warn(failure, "service", service, "attempt", i+1, "error", err)
	}
	return err
}

// endTrial answers the client that waits for a swap. The next swap of the service can begin
// after the answer, so old versions and containers are removed before.
func (s *Supervisor) endTrial(svc *service, t *trial) {
	t.disarm()
	t.Origin.Close()
	svc.trial = nil
	s.releaseSockets(svc.name)
	var response control.Response
	if t.state == swap.Committed {
		svc.version = t.Next
		s.event(svc, fmt.Sprintf("swap to %s committed", t.to()), s.options.Now()-t.begun)
	} else {
		response.Code = control.CodeFailed
		response.Error = fmt.Sprintf("swap to %s failed: %s; %s is restored and %s", t.to(), t.reason, t.from(), svc.state)
	}
	if t.state != swap.Committed {
		s.startStopped(svc, t)
	}
	namespace := svc.namespace()
	if t.drops() {
		s.drop(svc)
		delete(s.output, svc.name)
		s.swapping[svc.name] = true
	}
	s.work.Go(func() {
		if t.overlap && t.state == swap.Restored {
			<-s.removeContainer(svc.name, t.instance, namespace)
		}
		if t.damaged {
			if err := s.versions.RemoveUnused(svc.name, t.Next); err != nil {
				s.options.Logger.Error("cannot remove a damaged version", "service", svc.name, "version", t.Next, "error", err)
			}
		}
		if t.state == swap.Committed {
			if err := s.persist(svc.name, func() error { return s.versions.Clean(svc.name) }); err != nil {
				s.options.Logger.Warn("old versions use space", "service", svc.name, "error", err)
			}
		}
		if t.answer != nil {
			t.answer <- response
		} else if t.drops() {
			s.send(func() { s.unreserve(svc.name) })
		}
	})
}

// startStopped starts the services again that a removal has stopped and that require the
// service, which was not removed after all.
func (s *Supervisor) startStopped(svc *service, t *trial) {
	if svc.state == machine.Stopped || s.stopping {
		return
	}
	for _, name := range t.stopped {
		if other := s.services.byName[name]; other != nil && !other.trial.drops() {
			delete(s.services.toStop, name)
			s.apply(other, machine.Start)
		}
	}
}

// remainsOf returns a function that removes what remains of a service that has stopped and is to be
// forgotten; of another service nothing.
func (s *Supervisor) remainsOf(svc *service) func() {
	if !svc.trial.drops() {
		return func() {}
	}
	ids := []string{svc.name}
	if svc.instance != "" {
		ids = append(ids, svc.instance)
	}
	name, namespace, others := svc.name, svc.namespace(), s.services.cgroupsOfOthers(svc)
	var cgroups []string
	if svc.bundle != nil {
		cgroups = append(cgroups, svc.bundle.Cgroup(name))
	}
	svc.removeMounts(s.options.Logger)
	return func() { s.removeRemains(name, namespace, ids, cgroups, others) }
}

// removeRemains removes what a start would use again of a service that does not exist any
// more: its containers, its FIFOs, and its cgroups, which a runtime that was killed may have left,
// without those of others.
func (s *Supervisor) removeRemains(name, namespace string, ids, cgroups, others []string) {
	var errs []error
	for _, id := range ids {
		errs = append(errs, s.deleteContainer(id, namespace))
	}
	errs = append(errs, task.RemoveFIFOs(filepath.Join(s.options.StateDir, "logs"), name))
	for _, path := range cgroups {
		errs = append(errs, prepare.RemoveCgroups(path, others))
	}
	if err := errors.Join(errs...); err != nil && s.ctx.Err() == nil {
		s.options.Logger.Error("cannot remove the remains of a service that was removed", "service", name, "error", err)
	}
}

// deleteContainer removes a container that containerd still has because it was dead when the
// container ended.
func (s *Supervisor) deleteContainer(name, namespace string) error {
	for {
		tasks, err := s.connection.Get(s.ctx)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(s.ctx, listTime)
		err = tasks.Delete(ctx, namespace, name)
		cancel()
		if err == nil || !s.connection.Failed(s.ctx, tasks, err) {
			return err
		}
	}
}

// removeRemoved removes the remains of services whose removal an earlier supervisor has committed.
func (s *Supervisor) removeRemoved() {
	for _, name := range s.removed {
		s.swapping[name] = true
		s.work.Go(func() {
			s.removeRemains(name, bundle.DefaultNamespace, []string{name}, nil, nil)
			s.send(func() { s.unreserve(name) })
		})
	}
	s.removed = nil
}

// drop forgets a service that has stopped and was removed.
func (s *Supervisor) drop(svc *service) {
	svc.cancelTimer()
	svc.removeMounts(s.options.Logger)
	if svc.unwatch != nil {
		svc.unwatch()
	}
	s.event(svc, "removed", 0)
	delete(s.services.toStop, svc.name)
	s.waiters = slices.DeleteFunc(s.waiters, func(w *waiter) bool {
		if !slices.Contains(w.names, svc.name) {
			return false
		}
		response := control.Response{}
		if w.event != machine.Stop {
			response = control.Response{Code: control.CodeFailed, Error: svc.name + ": was removed"}
		}
		w.answer <- response
		return true
	})
	s.services.remove(svc.name)
	s.store.remove(svc.name)
	s.arrange()
	s.reconcile()
	s.announce()
}
