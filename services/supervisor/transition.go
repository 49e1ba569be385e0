package supervisor

import (
	"time"

	"keelson/runtime/timeline"
	"keelson/services/machine"
)

// apply is the only place where a state changes. The table of package machine says how,
// and what is to be done.
func (s *Supervisor) apply(svc *service, e machine.Event) {
	before := svc.state
	next := machine.On(svc.state, e)
	svc.state = next.State
	if before != next.State {
		s.entered(svc, before)
	}
	for _, a := range next.Actions {
		s.do(svc, a)
	}
	if before == next.State || svc.state != next.State {
		return // An action has applied another event, which did the rest.
	}
	if svc.state == machine.Stopped {
		s.event(svc, "stopped", 0)
	}
	s.store.save(svc)
	s.reconcile()
	s.followSwap(svc)
	s.waiters.wake(&s.services)
	s.announce()
}

// entered carries out what every transition to a state requires.
func (s *Supervisor) entered(svc *service, before machine.State) {
	svc.since = s.options.Now()
	s.options.Logger.Debug("service changes", "service", svc.name, "from", before, "to", svc.state, "pid", svc.pid)
	if svc.state != machine.Waiting {
		svc.blocked, svc.awaiting = false, false
	}
	if svc.unwatch != nil {
		svc.unwatch()
		svc.unwatch = nil
	}
	switch svc.state {
	case machine.Running:
		svc.reason = ""
		svc.recordFirst(firstUp)
		s.event(svc, "running", s.options.Now()-svc.launched)
	case machine.Starting:
		svc.status = ""
	case machine.Stopped:
		svc.reason, svc.status = "", ""
	}
	if svc.state.Settled() || svc.state == machine.Running {
		svc.cancelTimer()
	}
	if svc.state.Settled() {
		s.releaseSockets(svc.name)
	}
	s.recorder.transition(svc, before, "")
}

func (s *Supervisor) do(svc *service, a machine.Action) {
	switch a {
	case machine.Check:
		s.changed = true // reconcile follows every change.
	case machine.Launch:
		s.launch(svc)
	case machine.Abort:
		if svc.task != nil {
			svc.task.Abort()
		}
	case machine.Probe:
		s.probe(svc)
	case machine.Watch:
		svc.task.Watch()
	case machine.Signal:
		s.signal(svc)
	case machine.Kill:
		s.kill(svc)
	case machine.ArmDelay:
		s.arm(svc, max(0, svc.delay-(s.options.Now()-svc.ended)), machine.Delay)
	case machine.CancelDelay:
		svc.cancelTimer()
	case machine.Release:
		svc.removeMounts(s.options.Logger)
	}
}

// arm applies e after d, unless the timer is cancelled or armed again.
func (s *Supervisor) arm(svc *service, d time.Duration, e machine.Event) {
	svc.cancelTimer()
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		s.send(func() {
			if svc.timer == timer {
				svc.timer = nil
				s.apply(svc, e)
			}
		})
	})
	svc.timer = timer
}

// probe waits for a service to be ready.
func (s *Supervisor) probe(svc *service) {
	if svc.settings().Ready.Kind == "" {
		s.apply(svc, machine.Ready)
		return
	}
	svc.status = notReady
	svc.task.Probe()
}

const notReady = "not ready yet"

// signal sends the stop signal. The container is killed when it does not end in time.
func (s *Supervisor) signal(svc *service) {
	if svc.task != nil {
		svc.task.Stop(svc.settings().StopSignal, s.services.cgroupsOfOthers(svc))
	}
	s.arm(svc, svc.settings().StopTimeout, machine.Timeout)
}

func (s *Supervisor) kill(svc *service) {
	s.options.Logger.Warn("service did not stop in time and is killed", "service", svc.name, "pid", svc.pid,
		"timeout", svc.settings().StopTimeout)
	if svc.task != nil {
		svc.task.Kill(s.services.cgroupsOfOthers(svc))
	}
}

// event shows people what became of a service.
func (s *Supervisor) event(svc *service, result string, took time.Duration) {
	s.options.Events(timeline.Event{At: s.options.Now(), Stage: timeline.Service, Name: svc.name, Result: result, Took: took})
}
