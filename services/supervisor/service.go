package supervisor

import (
	"context"
	"time"

	"keelson/runtime/bundle"
	"keelson/runtime/timeline"
	"keelson/services/machine"
)

// service is what Serve's goroutine knows of one.
type service struct {
	name, dir string
	bundle    *bundle.Bundle // nil: to be loaded at the next start
	state     machine.State
	since     time.Time // when state was entered
	history   machine.History
	restarts  int
	lastExit  string // how it last ended
	reason    string // why it does not run, when that is a failure
	first     first

	run      *run          // the container there is, or that is being made
	pid      int           // its first process, once that runs
	launched time.Duration // when its start, or its stop, began
	started  time.Duration // when it ran
	ended    time.Duration // when it, or its start, came to an end
	release  func() error  // takes down its mounts
	timer    *time.Timer   // to Delay or to Timeout
}

// first is how a service's first start went.
type first int

const (
	pending first = iota
	up
	down
)

func (svc *service) settings() bundle.Settings {
	if svc.bundle == nil {
		return bundle.Defaults()
	}
	return svc.bundle.Settings
}

func (svc *service) namespace() string {
	if svc.bundle == nil {
		return bundle.DefaultNamespace
	}
	return svc.bundle.Namespace()
}

// apply is the only place where a state changes.
func (s *Supervisor) apply(svc *service, e machine.Event) {
	before := svc.state
	next := machine.On(svc.state, e)
	svc.state = next.State
	if before != next.State {
		svc.since = time.Now()
		s.options.Logger.Debug("service changes", "service", svc.name, "from", before, "to", next.State, "pid", svc.pid)
	}
	if e == machine.Start || e == machine.Restart {
		svc.history = machine.History{}
	}
	if next.State.Settled() || next.State == machine.Running {
		svc.cancelTimer()
	}
	for _, a := range next.Actions {
		s.do(svc, a)
	}
	if before == next.State {
		return
	}
	if next.State == machine.Stopped {
		svc.reason = ""
		s.event(svc, "stopped", 0)
	}
	s.save(svc)
	s.wakeWaiters()
	s.announce()
}

func (s *Supervisor) do(svc *service, a machine.Action) {
	switch a {
	case machine.Check:
		if s.connected && !s.stopping {
			s.apply(svc, machine.Go)
		}
	case machine.Launch:
		s.launch(svc)
	case machine.Abort:
		if svc.run != nil {
			svc.run.cancel()
		}
	case machine.Signal:
		s.signal(svc)
	case machine.Kill:
		s.kill(svc)
	case machine.ArmDelay:
		d := machine.BackoffDelay(svc.settings(), svc.history.Failures, s.options.Random())
		// Cleaning up after the last one counts as waiting.
		s.arm(svc, max(0, d-(s.options.Now()-svc.ended)), machine.Delay)
	case machine.CancelDelay:
		svc.cancelTimer()
	case machine.Release:
		s.releaseMounts(svc)
	}
}

// arm sends e after d, unless the timer is cancelled or armed again.
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

func (svc *service) cancelTimer() {
	if svc.timer != nil {
		svc.timer.Stop()
		svc.timer = nil
	}
}

func (s *Supervisor) releaseMounts(svc *service) {
	if svc.release == nil {
		return
	}
	if err := svc.release(); err != nil {
		s.options.Logger.Error("mounts are left", "service", svc.name, "error", err)
	}
	svc.release = nil
}

// event tells people what became of a service.
func (s *Supervisor) event(svc *service, result string, took time.Duration) {
	s.options.Events(timeline.Event{At: s.options.Now(), Stage: timeline.Service, Name: svc.name, Result: result, Took: took})
}

// launch starts the goroutine that makes and follows the container.
func (s *Supervisor) launch(svc *service) {
	s.begin(svc)
	svc.launched = s.options.Now()
	r := svc.run
	s.work.Go(func() { r.launch() })
}

// begin gives svc a fresh run.
func (s *Supervisor) begin(svc *service) {
	ctx, cancel := context.WithCancel(s.ctx)
	svc.run = &run{
		supervisor: s, service: svc, ctx: ctx, cancel: cancel,
		name: svc.name, dir: svc.dir, bundle: svc.bundle, streams: 2 * len(s.services),
	}
}

// started is posted by a run whose first process runs.
func (s *Supervisor) hasStarted(r *run, pid int) {
	svc := r.service
	if svc.run != r {
		return
	}
	now := s.options.Now()
	svc.pid, svc.started, svc.reason, svc.first = pid, now, "", up
	if svc.state == machine.Starting {
		s.event(svc, "running", now-svc.launched)
	}
	s.apply(svc, machine.Started)
}

// notStarted is posted by a run that came to nothing. fatal: trying again
// cannot help.
func (s *Supervisor) notStarted(r *run, err error, fatal bool) {
	svc := r.service
	if svc.run != r {
		return
	}
	svc.run, svc.pid, svc.ended = nil, 0, s.options.Now()
	e := machine.Fail
	if !fatal && svc.state == machine.Starting {
		e = machine.AfterStartError(svc.settings(), &svc.history, s.options.Now())
	}
	if svc.state == machine.Starting {
		svc.reason = "failed: " + err.Error()
		if svc.first == pending {
			svc.first = down
		}
		s.event(svc, svc.reason+again(e), s.options.Now()-svc.launched)
	}
	s.apply(svc, e)
}

// hasEnded is posted by a run whose container is gone.
func (s *Supervisor) hasEnded(r *run, x exit) {
	svc := r.service
	if svc.run != r {
		return
	}
	r.cancel()
	svc.run, svc.pid, svc.lastExit, svc.ended = nil, 0, x.String(), x.at
	e := machine.Done
	if svc.state == machine.Running {
		e = machine.AfterExit(svc.settings(), &svc.history, x.success(), x.at-svc.started, x.at)
		result := svc.lastExit
		switch e {
		case machine.Fail:
			svc.reason = "failed: " + svc.lastExit
			result = svc.reason
		case machine.Retry:
			svc.restarts++
		}
		s.event(svc, result+again(e), 0)
	}
	s.apply(svc, e)
}

func again(e machine.Event) string {
	if e == machine.Retry {
		return ", to be started again"
	}
	return ""
}
