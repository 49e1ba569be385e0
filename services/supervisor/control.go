package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"keelson/services/control"
	"keelson/services/machine"
)

var orders = map[string]machine.Event{
	control.Start: machine.Start, control.Stop: machine.Stop, control.Restart: machine.Restart,
}

var signals = map[string]syscall.Signal{
	control.Halt: syscall.SIGUSR1, control.PowerOff: syscall.SIGUSR2, control.Reboot: syscall.SIGTERM,
}

// Control implements control.Handler. Orders are answered when they are
// carried out, or have failed.
func (s *Supervisor) Control(ctx context.Context, r control.Request) control.Response {
	if signal, ok := signals[r.Verb]; ok {
		if err := s.options.Power(signal); err != nil {
			return control.Response{Code: control.CodeFailed, Error: fmt.Sprintf("cannot signal PID 1: %v", err)}
		}
		return control.Response{}
	}
	e, order := orders[r.Verb]
	if !order && r.Verb != control.List || order && len(r.Names) == 0 {
		return control.Response{Code: control.CodeUsage, Error: fmt.Sprintf("cannot do %q", r.Verb)}
	}
	answer := make(chan control.Response, 1)
	posted := s.post(func() {
		if unknown := s.unknown(r.Names, e == machine.Start); len(unknown) > 0 {
			answer <- control.Response{Code: control.CodeNotFound, Error: "no such service: " + strings.Join(unknown, ", ")}
		} else if order {
			s.order(e, r.Names, answer)
		} else {
			answer <- s.list(r.Names)
		}
	})
	if !posted {
		return control.Response{Code: control.CodeFailed, Error: "the supervisor is ending"}
	}
	select {
	case response := <-answer:
		return response
	case <-ctx.Done():
		s.post(func() { s.forget(answer) })
		return control.Response{Code: control.CodeFailed, Error: "given up"}
	case <-s.ended:
		return control.Response{Code: control.CodeFailed, Error: "the supervisor ended"}
	}
}

// unknown are the names without a service. With a start, bundles that came
// after the boot are taken in.
func (s *Supervisor) unknown(names []string, takeIn bool) []string {
	var unknown []string
	for _, name := range names {
		if s.services[name] != nil {
			continue
		}
		dir := filepath.Join(s.options.Dir, name)
		info, err := os.Stat(dir)
		if takeIn && err == nil && info.IsDir() && filepath.Base(name) == name && name != "." && name != ".." && s.add(name) {
			s.arrange()
			s.needContainerd()
			continue
		}
		unknown = append(unknown, name)
	}
	return unknown
}

// list describes the services named, or all. Its code says whether those
// named run. Times are by the clock as it is set now, and not as it was then.
func (s *Supervisor) list(names []string) control.Response {
	var response control.Response
	all := len(names) == 0
	wall, boot := time.Now(), s.options.Now()
	if all {
		names = s.names()
	}
	for _, name := range names {
		svc := s.shown(s.services[name])
		response.Services = append(response.Services, control.Service{
			Name: name, State: string(svc.state), PID: svc.pid, Since: wall.Add(svc.since - boot),
			Restarts: svc.restarts, LastExit: svc.lastExit, Error: svc.reason, Status: svc.status,
		})
		if !all && svc.state != machine.Running {
			response.Code = control.CodeNotRunning
		}
	}
	return response
}

// shown is what is known of a service: until containerd answers, what an earlier
// supervisor has written down.
func (s *Supervisor) shown(svc *service) *service {
	if s.connected {
		return svc
	}
	known := &service{name: svc.name, state: machine.Waiting, since: svc.since, status: "containerd does not answer yet"}
	if old, ok := s.readState(svc.name); ok {
		known.restore(old)
		known.state, known.pid, known.since = old.State, old.Pid, old.Entered
		known.status = "as last known: " + known.status
	}
	return known
}

// waiter waits for an order to be carried out.
type waiter struct {
	event  machine.Event
	names  []string
	answer chan control.Response // with room for one
}

func (s *Supervisor) order(e machine.Event, names []string, answer chan control.Response) {
	if s.stopping && e != machine.Stop {
		answer <- control.Response{Code: control.CodeFailed, Error: "the system is shutting down"}
		return
	}
	if !s.connected { // What runs already is not known yet.
		s.early = append(s.early, func() { s.order(e, names, answer) })
		return
	}
	if e == machine.Stop {
		s.orderStop(names)
	} else {
		s.orderStart(e, names)
	}
	s.waiters = append(s.waiters, &waiter{e, names, answer})
	s.settle()
	s.wakeWaiters()
}

// orderStop stops services, those that require them first.
func (s *Supervisor) orderStop(names []string) {
	var all []string
	for _, name := range names {
		all = append(append(all, name), s.graph.Dependents(name)...)
	}
	s.stopLater(all)
}

// orderStart starts services and, where those do not run, what they require.
func (s *Supervisor) orderStart(e machine.Event, names []string) {
	seen := map[string]bool{}
	var order func(name string, e machine.Event)
	order = func(name string, e machine.Event) {
		if seen[name] {
			return
		}
		seen[name] = true
		svc := s.services[name]
		delete(s.toStop, name)
		svc.history = machine.History{}
		svc.reload = true // The bundle may have been changed.
		for _, other := range s.graph.Requires(name) {
			if s.services[other].state.Settled() && s.services[other].state != machine.Exited {
				order(other, machine.Start)
			}
		}
		s.apply(svc, e)
	}
	for _, name := range names {
		order(name, e)
	}
}

// wakeWaiters answers those whose order is carried out.
func (s *Supervisor) wakeWaiters() {
	left := s.waiters[:0]
	for _, w := range s.waiters {
		if s.carriedOut(w) {
			w.answer <- s.outcome(w)
		} else {
			left = append(left, w)
		}
	}
	clear(s.waiters[len(left):])
	s.waiters = left
}

// forget drops the waiter for an answer that nobody wants any more.
func (s *Supervisor) forget(answer chan control.Response) {
	s.waiters = slices.DeleteFunc(s.waiters, func(w *waiter) bool { return w.answer == answer })
}

// carriedOut tells whether there is nothing more to wait for. A service that is
// not to be stopped any more has stopped, or a later order wants it to run.
func (s *Supervisor) carriedOut(w *waiter) bool {
	for _, name := range w.names {
		state := s.services[name].state
		done := !s.toStop[name]
		if w.event != machine.Stop {
			done = state.Settled() || state == machine.Running || state == machine.Backoff || s.services[name].blocked
		}
		if !done {
			return false
		}
	}
	return true
}

func (s *Supervisor) outcome(w *waiter) control.Response {
	var failed []string
	for _, name := range w.names {
		svc := s.services[name]
		why := ""
		switch {
		case w.event == machine.Stop && !svc.state.Settled():
			why = "was ordered to start again"
		case w.event != machine.Stop && svc.state != machine.Running && svc.state != machine.Exited:
			why = cmp.Or(svc.reason, svc.lastExit, string(svc.state))
		}
		if why != "" {
			failed = append(failed, fmt.Sprintf("%s: %s", name, why))
		}
	}
	if len(failed) > 0 {
		return control.Response{Code: control.CodeFailed, Error: strings.Join(failed, "\n")}
	}
	return control.Response{}
}
