package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"keelson/runtime/bundle"
	"keelson/runtime/timeline"
	"keelson/services/machine"
)

// service is what Serve's goroutine knows of one.
type service struct {
	name, dir string
	bundle    *bundle.Bundle // nil: it cannot be loaded
	broken    error          // why
	clash     error          // its name, or its cgroup, keeps it from being started
	state     machine.State
	since     time.Duration // when state was entered
	history   machine.History
	restarts  int    // by the supervisor: after an end or a failed start
	lastExit  string // how it last ended
	reason    string // why it does not run, when that is a failure
	status    string // what it says of itself, or waits for
	blocked   bool   // waits for what will not come by itself
	reload    bool   // its bundle is to be read anew before its next start
	proven    bool   // its bundle has been started
	refused   bool   // its last start failed because of the bundle's configuration
	unwatch   func() // ends the watch over its bundle; nil: there is none
	first     first

	run      *run          // the container there is, or that is being made
	pid      int           // its first process, once that runs
	launched time.Duration // when its start began
	started  time.Duration // when it ran
	startup  time.Duration // how long it took to run
	ended    time.Duration // when it, or its start, came to an end
	delay    time.Duration // from then to its next start
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

// firstIs keeps how the first start went; what comes later is none of it,
// except that one that was up after all was no failure.
func (svc *service) firstIs(f first) {
	if svc.first == pending || f == up {
		svc.first = f
	}
}

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
		s.entered(svc, before)
	}
	for _, a := range next.Actions {
		s.do(svc, a)
	}
	if before == next.State || svc.state != next.State {
		return // An action led on, and what follows was done there.
	}
	if svc.state == machine.Stopped {
		s.event(svc, "stopped", 0)
	}
	s.save(svc)
	s.settle()
	s.wakeWaiters()
	s.announce()
}

// entered does what a state brings with it, wherever it was come from.
func (s *Supervisor) entered(svc *service, before machine.State) {
	svc.since = s.options.Now()
	s.options.Logger.Debug("service changes", "service", svc.name, "from", before, "to", svc.state, "pid", svc.pid)
	if svc.state != machine.Waiting {
		svc.blocked = false
	}
	if svc.unwatch != nil {
		svc.unwatch()
		svc.unwatch = nil
	}
	switch svc.state {
	case machine.Running:
		svc.reason = ""
		svc.firstIs(up)
		s.event(svc, "running", s.options.Now()-svc.launched)
	case machine.Starting:
		svc.status = ""
	case machine.Stopped:
		svc.reason, svc.status = "", ""
	}
	if svc.state.Settled() || svc.state == machine.Running {
		svc.cancelTimer()
	}
}

func (s *Supervisor) do(svc *service, a machine.Action) {
	switch a {
	case machine.Check:
		s.again = true // settle comes with every change
	case machine.Launch:
		s.launch(svc)
	case machine.Abort:
		if svc.run != nil {
			svc.run.abort()
		}
	case machine.Probe:
		s.probe(svc)
	case machine.Watch:
		s.watch(svc)
	case machine.Signal:
		s.signal(svc)
	case machine.Kill:
		s.kill(svc)
	case machine.ArmDelay:
		s.arm(svc, max(0, svc.delay-(s.options.Now()-svc.ended)), machine.Delay)
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

// launch starts the goroutine that makes and follows the container, unless that
// cannot succeed.
func (s *Supervisor) launch(svc *service) {
	svc.launched = s.options.Now()
	if svc.bundle == nil {
		s.reread(svc) // It may have been repaired.
	}
	if err := cmp.Or(svc.clash, svc.broken); err != nil {
		s.cannotStart(svc, err)
		return
	}
	r := s.begin(svc)
	if err := s.place(r); err != nil {
		s.cannotStart(svc, err)
		return
	}
	s.work.Go(r.launch)
}

// begin gives svc a new run.
func (s *Supervisor) begin(svc *service) *run {
	r := &run{
		supervisor: s, service: svc,
		name: svc.name, dir: svc.dir, bundle: svc.bundle, proven: svc.proven, streams: 2 * len(s.services),
	}
	r.ctx, r.cancel = context.WithCancel(s.ctx)
	r.starting, r.abort = context.WithCancel(r.ctx)
	svc.run = r
	return r
}

// hasStarted is posted by a run whose first process runs.
func (s *Supervisor) hasStarted(r *run, pid int) {
	svc := r.service
	if svc.run != r {
		return
	}
	svc.pid, svc.started = pid, s.options.Now()
	svc.startup = svc.started - svc.launched
	svc.proven, svc.refused = true, false
	if svc.state == machine.Starting && svc.settings().Ready.Kind != "" {
		s.event(svc, fmt.Sprintf("started, to be ready by %s", svc.settings().Ready), svc.startup)
	}
	s.apply(svc, machine.Started)
}

// cannotStart fails a start that was not tried, as trying again cannot help.
func (s *Supervisor) cannotStart(svc *service, err error) {
	s.noRun(svc)
	svc.reason, svc.refused = "failed: "+err.Error(), false
	svc.firstIs(down)
	s.event(svc, svc.reason, svc.startup)
	s.apply(svc, machine.Fail)
	if svc.clash == nil && svc.bundle == nil {
		s.watchBundle(svc)
	}
}

// notStarted is posted by a run whose container could not be started.
func (s *Supervisor) notStarted(r *run, err error) {
	svc := r.service
	if svc.run != r {
		return
	}
	s.noRun(svc)
	if svc.state != machine.Starting {
		s.apply(svc, machine.Fail) // It was not to start any more.
		return
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("not started within %v: %w", launchTime, err)
	}
	again, before := svc.history.Failures > 0, svc.reason
	svc.reason, svc.refused = "failed: "+err.Error(), isRefused(err)
	svc.firstIs(down)
	e := machine.AfterStartError(svc.settings(), &svc.history, svc.ended)
	if e == machine.Retry {
		s.planRestart(svc)
	}
	if e != machine.Retry || !again || !sameFailure(before, svc.reason) {
		s.event(svc, svc.reason+svc.consequence(e)+svc.untilThen(e), svc.startup)
	}
	s.apply(svc, e)
	if svc.refused {
		s.watchBundle(svc)
	}
}

// noRun records that a start came to nothing.
func (s *Supervisor) noRun(svc *service) {
	if svc.run != nil {
		svc.run.cancel()
	}
	svc.run, svc.pid, svc.ended = nil, 0, s.options.Now()
	svc.startup = svc.ended - svc.launched
}

// untilThen completes the report of a start that failed and is tried again.
func (svc *service) untilThen(e machine.Event) string {
	switch {
	case e != machine.Retry:
		return ""
	case svc.refused:
		return " or when the bundle is changed; the same failure is not reported again"
	}
	return "; the same failure is not reported again"
}

// hasEnded is posted by a run whose container is gone.
func (s *Supervisor) hasEnded(r *run, x exit) {
	svc := r.service
	if svc.run != r {
		return
	}
	r.cancel()
	svc.run, svc.pid, svc.lastExit, svc.ended = nil, 0, x.String(), x.at
	svc.status = ""
	switch svc.state {
	case machine.Activating, machine.Running, machine.Failing:
		s.endedByItself(svc, x)
	default:
		s.apply(svc, machine.Done)
	}
}

// endedByItself decides what follows the end of a service that nobody ordered.
func (s *Supervisor) endedByItself(svc *service, x exit) {
	success := x.success() && svc.state != machine.Failing
	ran := x.at - svc.started
	e := machine.AfterExit(svc.settings(), &svc.history, success, ran, x.at)
	result := fmt.Sprintf("%s (ran %s)", svc.lastExit, seconds(ran))
	switch e {
	case machine.Done:
		svc.firstIs(up)
	case machine.Fail:
		if svc.state == machine.Failing {
			svc.reason += "; " + svc.lastExit
		} else {
			svc.reason = "failed: " + svc.lastExit
		}
		result = "failed: " + result
		svc.firstIs(down)
	case machine.Retry:
		s.planRestart(svc)
		if svc.state == machine.Activating {
			svc.reason = "failed: " + svc.lastExit + " before it was ready"
			svc.firstIs(down)
		}
	}
	s.event(svc, result+svc.consequence(e), 0)
	s.apply(svc, e)
}

// planRestart counts a restart and sets the delay before it.
func (s *Supervisor) planRestart(svc *service) {
	svc.restarts++
	failures := svc.history.Failures
	if svc.refused {
		failures = math.MaxInt // Only another bundle helps: the largest delay.
	}
	svc.delay = machine.BackoffDelay(svc.settings(), failures, s.options.Random())
	if failures <= 1 {
		// The time to make the container counts towards the first delay.
		svc.delay = max(0, svc.delay-svc.startup)
	}
}

// consequence says what follows an end or a failed start.
func (svc *service) consequence(e machine.Event) string {
	settings := svc.settings()
	switch {
	case e == machine.Retry:
		return fmt.Sprintf(", restart %d %s", svc.restarts, after(svc.delay))
	case e != machine.Fail:
		return ""
	case settings.Restart == bundle.RestartNever:
		return " (keelson.restart=never)"
	}
	return fmt.Sprintf(" (keelson.restart.limit=%s is reached)", settings.Limit)
}

// after is a delay in words.
func after(d time.Duration) string {
	if d < time.Millisecond {
		return "at once"
	}
	return "in " + seconds(d)
}

// seconds is a time as people read it.
func seconds(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}
