package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"keelson/runtime/bundle"
	"keelson/services/events"
	"keelson/services/machine"
	"keelson/services/task"
)

// launch makes the container of a service, unless that cannot succeed.
func (s *Supervisor) launch(svc *service) {
	svc.launched = s.options.Now()
	if svc.bundle == nil {
		s.reread(svc) // It may have been repaired.
	}
	if err := cmp.Or(svc.clash, svc.broken); err != nil {
		s.cannotStart(svc, err)
		return
	}
	s.releaseSockets(svc.name)
	placement, err := s.services.place(svc)
	if err != nil {
		s.cannotStart(svc, err)
		return
	}
	s.attach(svc, placement, s.tasks.Launch)
}

// attach gives a service the task that begin makes. Events of a task that is not the
// service's any more are dropped.
func (s *Supervisor) attach(svc *service, placement task.Placement, begin func(context.Context, task.Spec) Task) {
	var t Task
	base, listen, shared := svc.base(), svc.settings().Listen, svc.instance != ""
	t = begin(s.ctx, task.Spec{
		Name: svc.base(), ID: svc.instance, Bundle: svc.bundle, Proven: svc.proven, Streams: 2 * len(s.services.names), Placement: placement,
		Count:   s.countOf(base),
		Sockets: func() ([]*os.File, error) { return s.sockets.Take(base, listen, shared) },
		Report: func(e task.Event) {
			s.send(func() {
				if svc.task == t {
					s.handle(svc, e)
				}
			})
		},
	})
	svc.task, svc.from = t, svc.dir
}

// handle turns what a task reports into an event of the state machine.
func (s *Supervisor) handle(svc *service, e task.Event) {
	switch e := e.(type) {
	case task.Mounted:
		svc.unmount = e.Unmount
	case task.Started:
		s.started(svc, e.PID)
	case task.NotStarted:
		s.notStarted(svc, e.Err)
	case task.Ready:
		if svc.state == machine.Activating {
			svc.status = svc.task.Status()
			s.recorder.probe(svc, probeReady, nil)
			s.apply(svc, machine.Ready)
		}
	case task.NotReady:
		if svc.state == machine.Activating {
			s.recorder.probe(svc, probeNotReady, e.Err)
			s.unhealthy(svc, e.Err)
		}
	case task.Unhealthy:
		if svc.state == machine.Running {
			s.recorder.probe(svc, probeUnhealthy, e.Err)
			s.unhealthy(svc, e.Err)
		}
	case task.StatusChanged:
		svc.status = svc.task.Status()
		if svc.state == machine.Activating && svc.status == "" {
			svc.status = notReady
		}
	case task.Reported:
		s.recorder.service(svc, events.Event{Kind: events.Report, Text: e.Text})
	case task.PIDsRefused:
		s.event(svc, e.Text, 0)
		s.recorder.service(svc, events.Event{Kind: events.Refused, Text: e.Text})
	case task.OOMKilled:
		s.recorder.service(svc, events.Event{Kind: events.OOM, Text: fmt.Sprintf("the kernel has killed processes for lack of memory: %d", e.Count)})
	case task.Ended:
		s.hasEnded(svc, e.Exit)
	}
}

func (s *Supervisor) started(svc *service, pid int) {
	svc.pid, svc.started = pid, s.options.Now()
	svc.startup = svc.started - svc.launched
	svc.proven, svc.refused = true, false
	if svc.state == machine.Starting && svc.settings().Ready.Kind != "" {
		s.event(svc, fmt.Sprintf("started, to be ready by %s", svc.settings().Ready), svc.startup)
	}
	s.apply(svc, machine.Started)
}

func (s *Supervisor) unhealthy(svc *service, err error) {
	s.unfit(svc, "unhealthy: "+err.Error())
}

// unfit stops a service that runs, for its restart. That counts as a failure.
func (s *Supervisor) unfit(svc *service, reason string) {
	svc.reason = reason
	svc.status = ""
	svc.recordFirst(firstDown)
	s.event(svc, svc.reason+"; is stopped", 0)
	s.apply(svc, machine.Unhealthy)
}

// cannotStart fails a start that was not tried, since it cannot succeed before the bundle
// is changed.
func (s *Supervisor) cannotStart(svc *service, err error) {
	svc.startEnded(s.options.Now())
	svc.reason, svc.refused = "failed: "+err.Error(), false
	svc.recordFirst(firstDown)
	s.event(svc, svc.reason, svc.startup)
	s.apply(svc, machine.Fail)
	if svc.clash == nil && svc.bundle == nil && svc.state == machine.Failed {
		s.watchBundle(svc)
	}
}

// notStarted decides what follows a start that failed.
func (s *Supervisor) notStarted(svc *service, err error) {
	svc.startEnded(s.options.Now())
	if svc.state != machine.Starting {
		s.apply(svc, machine.Fail) // It is not to start any more.
		return
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("not started within %v: %w", task.StartTime, err)
	}
	again, before := svc.history.Failures > 0, svc.reason
	svc.reason, svc.refused = "failed: "+err.Error(), isRefused(err)
	svc.recordFirst(firstDown)
	e := machine.AfterStartError(svc.settings(), &svc.history, svc.ended)
	if e == machine.Retry {
		svc.planRestart(s.options.Random())
	}
	if e != machine.Retry || !again || !sameFailure(before, svc.reason) {
		s.event(svc, svc.reason+svc.consequence(e)+svc.untilNextReport(e), svc.startup)
	}
	s.apply(svc, e)
	if svc.refused && (svc.state == machine.Backoff || svc.state == machine.Failed) { // A swap may have gone on.
		s.watchBundle(svc)
	}
}

// hasEnded decides what follows the end of a container.
func (s *Supervisor) hasEnded(svc *service, x task.Exit) {
	s.recorder.end(svc, x)
	svc.task, svc.pid, svc.lastExit, svc.ended, svc.status = nil, 0, x.String(), x.At, ""
	if svc.exits == nil {
		svc.exits = map[string]int{}
	}
	svc.exits[x.Reason()]++
	switch svc.state {
	case machine.Activating, machine.Running, machine.Failing:
	default:
		s.apply(svc, machine.Done) // It was to stop.
		return
	}
	success := x.Success() && svc.state != machine.Failing
	ran := x.At - svc.started
	e := machine.AfterExit(svc.settings(), &svc.history, success, ran, x.At)
	result := fmt.Sprintf("%s (ran %s)", svc.lastExit, seconds(ran))
	switch e {
	case machine.Done:
		svc.recordFirst(firstUp)
	case machine.Fail:
		if svc.state == machine.Failing {
			svc.reason += "; " + svc.lastExit
		} else {
			svc.reason = "failed: " + svc.lastExit
		}
		result = "failed: " + result
		svc.recordFirst(firstDown)
	case machine.Retry:
		svc.planRestart(s.options.Random())
		if svc.state == machine.Activating {
			svc.reason = "failed: " + svc.lastExit + " before it was ready"
			svc.recordFirst(firstDown)
		}
	}
	s.event(svc, result+svc.consequence(e), 0)
	s.apply(svc, e)
}

// consequence says what follows an end or a failed start.
func (svc *service) consequence(e machine.Event) string {
	settings := svc.settings()
	switch {
	case e == machine.Retry:
		return fmt.Sprintf(", restart %d %s", svc.restarts, inWords(svc.delay))
	case e != machine.Fail:
		return ""
	case settings.Restart == bundle.RestartNever:
		return " (keelson.restart=never)"
	}
	return fmt.Sprintf(" (keelson.restart.limit=%s is reached)", settings.Limit)
}

// untilNextReport says when a start that failed is reported again.
func (svc *service) untilNextReport(e machine.Event) string {
	switch {
	case e != machine.Retry:
		return ""
	case svc.refused:
		return " or when the bundle is changed; the same failure is not reported again"
	}
	return "; the same failure is not reported again"
}

// isRefused reports whether a start failed because of the configuration of the bundle: it
// fails again until the bundle is changed.
func isRefused(err error) bool {
	var refused *bundle.RefusedError
	return errors.As(err, &refused)
}

// sameFailure reports whether two errors differ only in numbers, such as those of
// processes and file descriptors.
func sameFailure(a, b string) bool { return withoutDigits(a) == withoutDigits(b) }

func withoutDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}

// inWords is a delay in words.
func inWords(d time.Duration) string {
	if d < time.Millisecond {
		return "immediately"
	}
	return "in " + seconds(d)
}

// seconds rounds a duration for people.
func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
