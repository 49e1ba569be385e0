package supervisor

import (
	"fmt"
	"slices"

	"keelson/runtime/prepare"
	"keelson/services/candidate"
	"keelson/services/containerd"
	"keelson/services/machine"
	"keelson/services/swap"
	"keelson/services/versions"
)

// interruptedReason is why a swap is undone that an earlier supervisor had begun.
const interruptedReason = "it was interrupted"

// addInterrupted makes a service of a name whose swap was interrupted: of the new version,
// which may run, until resumeSwap knows what runs.
func (s *Supervisor) addInterrupted(name string, state versions.State, inImage bool) bool {
	t := &trial{Candidate: candidate.Candidate{Name: name, Next: state.Trial.Next, Old: state.Current}, state: swap.Accepted, reason: interruptedReason, ran: state.Trial.Ran, stopped: state.Trial.Stopped}
	if t.Old != versions.Removed && (t.Old != versions.Image || inImage) {
		t.oldDir = s.candidates.Folder(name, t.Old)
	}
	svc := &service{name: name, version: t.Old, trial: t, state: machine.Stopped, since: s.options.Now()}
	svc.dir = t.oldDir
	if t.Next != versions.Removed {
		svc.dir = s.candidates.Folder(name, t.Next)
	}
	svc.load(s.options.Logger, s.users)
	s.services.add(svc)
	return true
}

// resumeSwap prepares to undo a swap that was interrupted, before the service is resumed.
// undo is true if the new version runs; then the service is resumed with that. resume is
// false if there is nothing to resume.
func (s *Supervisor) resumeSwap(svc *service, old saved, t containerd.Task, exists bool) (undo, resume bool) {
	trial := svc.trial
	if trial == nil {
		return false, true
	}
	s.event(svc, fmt.Sprintf("swap to %s failed: %s; restoring %s", trial.Next, trial.reason, trial.from()), 0)
	if isOld := old.From == trial.oldDir && old.Pid == t.PID; exists && !isOld && trial.Next != versions.Removed {
		return true, true
	}
	if trial.Next != versions.Removed && svc.bundle != nil { // Its start may have been interrupted.
		if err := prepare.Release(svc.bundle); err != nil {
			s.options.Logger.Error("cannot remove the mounts of a version", "service", svc.name, "version", trial.Next, "error", err)
		}
	}
	if trial.oldDir == "" {
		return false, false
	}
	svc.dir, svc.history = trial.oldDir, machine.History{}
	s.reread(svc)
	return false, true
}

// undoSwaps stops the new versions that run, and continues with the other swaps that were
// interrupted.
func (s *Supervisor) undoSwaps(running []*service) {
	for _, name := range s.services.names {
		svc := s.services.byName[name]
		if svc.trial == nil {
			continue
		}
		svc.trial.state = swap.Restoring
		s.recorder.swap(svc.trial, swap.Accepted)
		switch {
		case slices.Contains(running, svc):
			s.restore(svc, svc.trial)
		default:
			if svc.trial.ran && svc.trial.oldDir != "" && !s.stopping && (svc.state.Settled() || svc.state == machine.Stopping) {
				s.apply(svc, machine.Start) // The swap has stopped it, or the new version has ended.
			}
			s.followSwap(svc)
		}
	}
}
