package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/services/machine"
	"keelson/services/swap"
	"keelson/services/versions"
)

// In a swap with keelson.swap=overlap, the new version is a service of its own beside the
// old one until it replaces it: it has its own container, cgroup, state and timers, and
// shares log files and kept sockets. Its container keeps its ID until the next start.

// instanceSuffix follows the name of the service in the ID of such a container.
var instanceSuffix = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\.([0-9a-f]{12}|image)$`) })

// instanceOf returns the ID of the container of a version that starts beside another one.
func instanceOf(name string, t versions.Target) string {
	_, digits, ok := strings.Cut(t.String(), ":")
	if !ok {
		digits = string(t)
	}
	return name + "." + digits
}

// serviceOf returns the service of which a container with the ID is an instance; empty if
// there is none.
func serviceOf(id string, names []string) string {
	for _, name := range names {
		if rest, ok := strings.CutPrefix(id, name); ok && instanceSuffix().MatchString(rest) {
			return name
		}
	}
	return ""
}

// canOverlap returns an error if a version cannot run beside the current one.
func (s *Supervisor) canOverlap(name string, t *trial) error {
	id := instanceOf(name, t.Next)
	if err := bundle.CheckName("services", id); err != nil {
		return err
	}
	if s.services.byName[id] != nil {
		return fmt.Errorf("there is a service %s, whose name its container would have", id)
	}
	svc := s.services.byName[name]
	switch {
	case svc == nil || svc.bundle == nil:
		return nil
	case svc.bundle.Spec.Process.Terminal != t.Bundle.Spec.Process.Terminal:
		return errors.New("annotation keelson.swap: process.terminal differs between the versions, which write the same log")
	case len(bundle.Nested(t.Bundle.Cgroup(name), s.services.cgroupsOfOthers(svc))) > 0:
		return errors.New("annotation keelson.swap: services whose cgroups are nested in its own cannot be in those of two versions")
	}
	return nil
}

// overlaps reports whether a swap starts the new version beside the old one, which must run.
func (t *trial) overlaps(svc *service) bool {
	return t.Bundle != nil && t.Bundle.Settings.Swap == bundle.SwapOverlap && svc != nil && svc.state == machine.Running
}

// tried returns the service whose state decides on the new version.
func (t *trial) tried(svc *service) *service {
	if t.beside != nil {
		return t.beside
	}
	return svc
}

// placeBeside gives an instance a cgroup beside that of the service.
func placeBeside(b *bundle.Bundle, instance string) {
	path := b.Cgroup(b.Name) + strings.TrimPrefix(instance, b.Name)
	if b.Spec.Linux == nil {
		b.Spec.Linux = &specs.Linux{}
	}
	b.Spec.Linux.CgroupsPath = path
}

// startBeside starts the new version.
func (s *Supervisor) startBeside(svc *service, t *trial) {
	s.event(svc, fmt.Sprintf("swapping %s for %s, which starts beside it, ordered by %s", t.from(), t.Next, cmp.Or(t.by, "nobody known")), 0)
	t.tellNotes()
	t.tell("starting beside %s", t.from())
	t.beside = &service{
		name: t.instance, instance: t.instance, besideOf: svc, dir: t.Dir, version: t.Next,
		state: machine.Stopped, since: s.options.Now(), first: firstUp, // It does not count for the boot.
	}
	t.beside.load(s.options.Logger, s.users)
	s.services.add(t.beside)
	s.arrange()
	s.apply(t.beside, machine.Start)
}

// stopOld stops the old version alone: services that require it use the new one.
func (s *Supervisor) stopOld(svc *service, t *trial) {
	t.tell("stopping %s", t.from())
	s.apply(svc, machine.Stop)
	s.followSwap(svc) // It may have stopped before.
}

// promote makes the new version the service, after the old one has stopped.
func (s *Supervisor) promote(old *service, t *trial) {
	svc := t.beside
	old.retire(s)
	s.store.remove(t.instance)
	old.trial, t.beside, svc.besideOf = nil, nil, nil
	svc.name, svc.trial, svc.version = t.Name, t, t.Old
	s.services.byName[t.Name] = svc
	s.services.remove(t.instance)
	s.arrange()
	s.store.save(svc)
	s.reconcile()
	s.announce()
}

// retire releases what a service holds that is forgotten.
func (svc *service) retire(s *Supervisor) {
	svc.cancelTimer()
	svc.removeMounts(s.options.Logger)
	if svc.unwatch != nil {
		svc.unwatch()
		svc.unwatch = nil
	}
}

// discard stops the new version, and the old one keeps running.
func (s *Supervisor) discard(svc *service, t *trial) {
	t.reason = cmp.Or(t.reason, "the service was ordered to stop")
	s.event(svc, fmt.Sprintf("swap to %s failed: %s; keeping %s", t.Next, t.reason, t.from()), 0)
	t.tell("failed: %s; keeping %s", t.reason, t.from())
	s.stopLater([]string{t.instance})
	s.followSwap(t.beside) // It may have stopped before.
}

// forgetBeside forgets the new version, which has stopped.
func (s *Supervisor) forgetBeside(t *trial) {
	t.beside.retire(s)
	delete(s.services.toStop, t.instance)
	s.services.remove(t.instance)
	s.store.remove(t.instance)
	t.beside = nil
	s.arrange()
	s.reconcile()
	s.announce()
}

// followOld turns the end of the old version into an event of a swap in which both run.
func (s *Supervisor) followOld(svc *service, t *trial) {
	if svc.state != machine.Stopped {
		return
	}
	s.afterwards(func() {
		e := swap.Gone
		if t.state == swap.Switching && svc.state == machine.Stopped && !t.stopOrdered {
			e = swap.Alone
		}
		if svc.trial == t && t.beside != nil {
			s.swapEvent(svc, e)
		}
	})
}

// followBeside turns the state of the new version into an event of its swap.
func (s *Supervisor) followBeside(svc *service) {
	old := svc.besideOf
	t := old.trial
	if t == nil || t.beside != svc || s.stopping {
		return
	}
	switch svc.state {
	case machine.Waiting:
		if svc.blocked {
			t.reason = cmp.Or(t.reason, svc.reason)
			s.swapEvent(old, swap.Gone)
		}
	case machine.Running:
		s.swapEvent(old, swap.Up)
	case machine.Failing, machine.Backoff, machine.Failed, machine.Exited:
		s.swapEvent(old, swap.Down)
	case machine.Stopped:
		s.afterwards(func() {
			switch {
			case old.trial != t || t.beside != svc || svc.state != machine.Stopped:
			case t.state == swap.Discarding:
				s.forgetBeside(t)
				s.swapEvent(old, swap.Alone)
			default:
				s.swapEvent(old, swap.Gone)
			}
		})
	}
}

// afterwards runs f in Serve's goroutine when what it is doing has ended: f may remove
// services, over which that may iterate.
func (s *Supervisor) afterwards(f func()) { s.work.Go(func() { s.send(f) }) }

// removeStrays removes containers of services that no service has: a supervisor has died
// while two versions ran, or while the second one was to start. Of that, containerd may have a container
// without a task.
func (s *Supervisor) removeStrays(ids []string, taken map[string]bool) {
	for _, id := range ids {
		name := cmp.Or(serviceOf(id, s.services.names), id)
		svc := s.services.byName[name]
		if taken[id] || svc == nil || s.services.byName[id] != nil && id != name {
			continue
		}
		taken[id] = true // It may be among the IDs twice.
		s.options.Logger.Warn("removing the container of a version whose swap was interrupted", "service", name, "container", id)
		s.swapping[name] = true
		removed := s.removeContainer(name, id, svc.namespace())
		s.work.Go(func() {
			<-removed
			s.send(func() { s.unreserve(name) })
		})
		s.store.remove(id)
	}
}

// removeContainer removes the container of a version. The channel is closed when that is done
// or has failed.
func (s *Supervisor) removeContainer(service, id, namespace string) <-chan struct{} {
	done := make(chan struct{})
	s.work.Go(func() {
		defer close(done)
		if err := s.deleteContainer(id, namespace); err != nil && s.ctx.Err() == nil {
			s.options.Logger.Error("cannot remove the container of a version", "service", service, "container", id, "error", err)
		}
	})
	return done
}
