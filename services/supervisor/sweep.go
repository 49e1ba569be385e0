package supervisor

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"slices"

	"keelson/runtime/bundle"
	"keelson/runtime/paths"
	"keelson/runtime/prepare"
	"keelson/services/containerd"
)

// A container may be left that no service uses: supervisor and containerd may die at any instant,
// and containerd does not find again what it was making or deleting then. The start of a service
// removes what is left of its own container; a service that was removed or stopped has no start.
// So what is on the machine is swept whenever there is a connection to another containerd, and by
// each supervisor.

// sweepLater sweeps once what runs is taken over.
func (s *Supervisor) sweepLater() {
	s.work.Go(func() {
		select {
		case <-s.adopted:
		case <-s.ctx.Done():
			return
		}
		_ = s.attempt(s.ctx, "cannot remove containers that nobody uses", "", s.sweep)
	})
}

// sweep removes containers that nobody uses.
func (s *Supervisor) sweep() error {
	var namespaces []string
	if err := s.askServe(func() error {
		if s.stopping {
			return errors.New("the system is shutting down")
		}
		all := s.services.byNamespace()
		all[bundle.DefaultNamespace] = nil
		namespaces = slices.Sorted(maps.Keys(all))
		return nil
	}); err != nil {
		return nil // The end of the system leaves no container either.
	}
	for {
		tasks, err := s.connection.Get(s.ctx)
		if err != nil {
			return err
		}
		swept, err := tasks.Sweep(s.ctx, namespaces, s.hasTask)
		for _, one := range swept {
			err = errors.Join(err, s.afterSweep(one))
		}
		if err == nil || !s.connection.Failed(s.ctx, tasks, err) {
			return err
		}
	}
}

// hasTask reports whether a service has, or is to have, a container of containerd.
func (s *Supervisor) hasTask(namespace, id string) bool {
	found := true
	err := s.askServe(func() error {
		found = s.stopping || slices.ContainsFunc(slices.Collect(maps.Values(s.services.byName)), func(svc *service) bool {
			return svc.task != nil && svc.namespace() == namespace && cmp.Or(svc.instance, svc.name) == id
		})
		return nil
	})
	return err != nil || found
}

// afterSweep removes the cgroups of a container, without those of services.
func (s *Supervisor) afterSweep(one containerd.Swept) error {
	s.options.Logger.Warn("removed a container that nobody used: containerd or the supervisor died while it was made or deleted", "container", one.ID)
	var used []string
	if err := s.askServe(func() error { used = s.services.cgroupsOfOthers(nil); return nil }); err != nil {
		return nil
	}
	var errs []error
	for _, path := range one.Cgroups {
		errs = append(errs, prepare.RemoveCgroups(path, used))
	}
	return errors.Join(errs...)
}

// connectionChanged is called when the connection to containerd was made, or lost.
func (s *Supervisor) connectionChanged(connected bool) {
	s.recorder.containerd(connected)
	if _, err := os.Stat(paths.ShimSockets); connected && err == nil { // Else there was no container yet.
		s.sweepLater()
	}
}
