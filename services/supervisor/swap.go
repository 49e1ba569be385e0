package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
	"keelson/services/machine"
	"keelson/services/swap"
	"keelson/services/versions"
)

// acceptable checks a new version as at the boot, beside all other services.
func (s *Supervisor) acceptable(name string, b *bundle.Bundle) error {
	if b.Settings.Role == bundle.RoleRescue {
		return errors.New("annotation keelson.role: a rescue shell is no service")
	}
	if svc := s.services.byName[name]; svc != nil && svc.bundle != nil && svc.namespace() != b.Namespace() {
		return fmt.Errorf("%s: namespace: %q is another containerd namespace than %q, in which the service runs",
			bundle.RuntimeFile, b.Namespace(), svc.namespace())
	}
	return s.services.check(name, b)
}

// obstacleToSwap says why no swap of a service can begin now.
func (s *Supervisor) obstacleToSwap(name string) error {
	svc := s.services.byName[name]
	switch {
	case s.stopping:
		return errShuttingDown
	case s.upgrade.Busy():
		return errors.New("a swap of the programs has begun")
	case !s.connected && len(s.services.names) > 0:
		return errors.New("containerd does not answer yet")
	case svc != nil && svc.besideOf != nil:
		return fmt.Errorf("it is a version of %s that is being swapped in", svc.besideOf.name)
	case svc != nil && svc.trial != nil:
		return fmt.Errorf("a swap to %s has begun", svc.trial.Next)
	}
	return nil
}

// beginTrial begins a swap that is recorded on the disk.
func (s *Supervisor) beginTrial(t *trial) {
	svc := s.services.byName[t.Name]
	if svc == nil {
		svc = &service{name: t.Name, dir: t.Dir, state: machine.Stopped, since: s.options.Now()}
		svc.load(s.options.Logger, s.users)
		s.services.add(svc)
		s.arrange()
		s.needContainerd()
	} else {
		t.oldDir, t.ran, t.exited = svc.dir, !svc.state.Settled(), svc.state == machine.Exited
	}
	t.instance = instanceOf(t.Name, t.Next)
	t.overlap = t.overlaps(svc) && s.canOverlap(t.Name, t) == nil
	t.state, t.begun, svc.trial = swap.Accepted, s.options.Now(), t
	s.swapEvent(svc, swap.Begin)
}

// swapEvent changes the state of a swap, and does what follows.
func (s *Supervisor) swapEvent(svc *service, e swap.Event) {
	t := svc.trial
	on := swap.On
	switch {
	case t.Next == versions.Removed:
		on = swap.OnRemoval
	case t.overlap:
		on = swap.OnOverlap
	}
	next := on(t.state, e)
	if next.State == t.state {
		return
	}
	s.options.Logger.Debug("swap changes", "service", svc.name, "from", t.state, "to", next.State, "event", e)
	before, recorded := t.state, false
	t.state = next.State
	for _, a := range next.Actions {
		if !recorded && a != swap.Disarm && a != swap.Reject { // Reject sets the reason.
			s.recorder.swap(t, before)
			recorded = true
		}
		s.doSwap(s.services.byName[t.Name], a, e) // Promote makes it another one.
	}
	if !recorded {
		s.recorder.swap(t, before)
	}
	if t.state.Ended() && svc.trial == t {
		s.endTrial(svc, t)
	}
}

func (s *Supervisor) doSwap(svc *service, a swap.Action, e swap.Event) {
	t := svc.trial
	switch a {
	case swap.Replace:
		s.replace(svc, t)
	case swap.StartBeside:
		s.startBeside(svc, t)
	case swap.StopOld:
		s.stopOld(svc, t)
	case swap.Promote:
		s.promote(svc, t)
	case swap.Discard:
		s.discard(svc, t)
	case swap.Stop:
		t.tell("stopping")
		s.orderStop([]string{svc.name})
		s.followSwap(svc) // It may have stopped before.
	case swap.Start:
		if t.ran {
			svc.reload = true
			s.apply(svc, machine.Start)
		}
		s.followSwap(svc) // It may not have run.
	case swap.ArmLate:
		s.armSwap(svc, t.lateness(svc), swap.Late)
	case swap.ArmProbation:
		t.tell("ready after %s; probation of %v", seconds(s.options.Now()-t.begun), t.probation)
		s.armSwap(svc, t.probation, swap.Passed)
	case swap.Verify:
		s.verifyRoot(t)
	case swap.AwaitVerified:
		if t.RootDigest != "" {
			t.tell("verifying %s", artifact.RootErofs)
		}
		s.followVerification(svc)
	case swap.Disarm:
		t.disarm()
	case swap.Reject:
		t.rejected = t.Next.IsVersion()
		if e == swap.Damaged {
			t.damaged = true
		} else {
			t.reason = failure(t.tried(svc), t.lateness(svc), e)
		}
	case swap.Restore:
		t.reason = cmp.Or(t.reason, "the service was ordered to stop")
		s.restore(svc, t)
	case swap.Commit:
		s.record(svc, func() error { return s.versions.Commit(t.Name) })
	case swap.Abort:
		t.reason = cmp.Or(t.reason, "the service was ordered to start") // Only a removal has no other reason.
		reason := t.reason
		if !t.rejected {
			reason = ""
		}
		s.record(svc, func() error {
			return s.persist(t.Name, func() error { return s.versions.Abort(t.Name, reason) })
		})
	}
}

// replace stops the old version and starts the new one.
func (s *Supervisor) replace(svc *service, t *trial) {
	s.event(svc, fmt.Sprintf("swapping %s for %s, ordered by %s", t.from(), t.to(), cmp.Or(t.by, "nobody known")), 0)
	t.tellNotes()
	t.tell("replacing %s", t.from())
	svc.dir = t.Dir
	s.startOther(svc)
}

// startOther starts the service from another bundle, after a stop if it runs.
func (s *Supervisor) startOther(svc *service) {
	svc.history = machine.History{}
	svc.reload, svc.trial.leaving = true, true
	delete(s.services.toStop, svc.name)
	s.apply(svc, machine.Restart)
	s.reconcile() // It may have been waiting already.
}

// restore starts the old version, if it ran.
func (s *Supervisor) restore(svc *service, t *trial) {
	s.event(svc, fmt.Sprintf("swap to %s failed: %s; restoring %s", t.to(), t.reason, t.from()), 0)
	t.tell("failed: %s; restoring %s", t.reason, t.from())
	if t.oldDir != "" {
		svc.dir = t.oldDir
	}
	if t.oldDir != "" && t.ran && svc.state != machine.Stopped {
		s.startOther(svc)
		return
	}
	svc.reload, t.leaving = true, true
	s.stopLater([]string{svc.name})
	s.followSwap(svc) // It may have stopped before.
}

// followSwap turns the state of a service into an event of its swap.
func (s *Supervisor) followSwap(svc *service) {
	t := svc.trial
	defer s.followVerification(svc)
	switch {
	case svc.besideOf != nil:
		s.followBeside(svc)
		return
	case t == nil || s.stopping:
		return
	case t.beside != nil:
		s.followOld(svc, t)
		return
	}
	if svc.state == machine.Stopped {
		s.swapEvent(svc, swap.Gone)
		return
	}
	if t.leaving || t.Next == versions.Removed && s.services.toStop[svc.name] {
		return // A removal waits until the services that require it have ended.
	}
	switch svc.state {
	case machine.Waiting:
		if svc.blocked {
			s.swapBlocked(svc, t)
		}
	case machine.Running:
		s.swapEvent(svc, swap.Up)
	case machine.Exited:
		if t.state == swap.Restoring || t.exited || t.oldDir == "" {
			s.swapEvent(svc, swap.Up)
		} else {
			s.swapEvent(svc, swap.Down)
		}
	case machine.Failing, machine.Backoff, machine.Failed:
		s.swapEvent(svc, swap.Down)
	}
}

// swapBlocked ends a swap whose version cannot start without an order to another service.
// That is no fault of the version.
func (s *Supervisor) swapBlocked(svc *service, t *trial) {
	t.reason = cmp.Or(t.reason, svc.reason)
	if t.Next == versions.Removed {
		s.swapEvent(svc, swap.Down) // A later order starts it again.
	} else {
		s.swapEvent(svc, swap.Gone)
	}
}

// failure says why the new version is rejected.
func failure(svc *service, late time.Duration, e swap.Event) string {
	switch {
	case e == swap.Late:
		return fmt.Sprintf("not ready within %v (%s)", late, cmp.Or(svc.status, string(svc.state)))
	case svc.state == machine.Exited:
		return svc.lastExit + ", while the version before kept running"
	}
	return cmp.Or(svc.reason, svc.lastExit, string(svc.state))
}

// record changes the disk, which may take long, and reports the result to the swap. What remains of
// a service that is to be forgotten is removed before: the next supervisor does not know it.
func (s *Supervisor) record(svc *service, change func() error) {
	remains := s.remainsOf(svc)
	s.work.Go(func() {
		remains()
		err := change()
		s.send(func() {
			if svc.trial == nil {
				return
			}
			if err == nil {
				s.swapEvent(svc, swap.Recorded)
				return
			}
			s.options.Logger.Error("cannot record a swap", "service", svc.name, "version", svc.trial.Next, "error", err)
			svc.trial.reason = cmp.Or(svc.trial.reason, err.Error())
			s.swapEvent(svc, swap.Unrecorded)
		})
	})
}

// armSwap sends e after d, unless the timer is armed again or stopped.
func (s *Supervisor) armSwap(svc *service, d time.Duration, e swap.Event) {
	t := svc.trial
	t.stopTimer()
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		s.send(func() {
			if t.timer == timer && svc.trial == t && !s.stopping {
				t.timer = nil
				if e == swap.Passed && !t.isUp(svc) {
					s.armSwap(svc, d, e) // It was ordered to restart, and is not ready again yet.
					return
				}
				s.swapEvent(svc, e)
			}
		})
	})
	t.timer = timer
}
