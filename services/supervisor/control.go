package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"keelson/runtime/signals"
	"keelson/services/control"
	"keelson/services/events"
	"keelson/services/machine"
)

var orders = map[string]machine.Event{
	control.Start: machine.Start, control.Stop: machine.Stop, control.Restart: machine.Restart,
}

var powerSignals = map[string]syscall.Signal{
	control.Halt: syscall.SIGUSR1, control.PowerOff: syscall.SIGUSR2, control.Reboot: syscall.SIGTERM,
}

// Control implements control.Handler. Orders are answered when they are carried out or
// have failed.
func (s *Supervisor) Control(ctx context.Context, r control.Request) control.Response {
	if signal, ok := powerSignals[r.Verb]; ok {
		if err := s.Power(signal, r.Peer); err != nil {
			return control.Response{Code: control.CodeFailed, Error: fmt.Sprintf("cannot signal PID 1: %v", err)}
		}
		return control.Response{}
	}
	switch r.Verb {
	case control.Swap, control.Rollback, control.Remove:
		if r.Programs {
			return s.upgrade.Order(ctx, r)
		}
	}
	switch r.Verb {
	case control.Swap, control.Rollback, control.Remove:
		return s.controlSwap(ctx, r)
	case control.Diff:
		return s.differences()
	case control.Kill:
		return s.controlKill(r)
	}
	e, order := orders[r.Verb]
	if !order && r.Verb != control.List || order && len(r.Names) == 0 {
		return control.Response{Code: control.CodeUsage, Error: fmt.Sprintf("cannot do %q", r.Verb)}
	}
	answer := make(chan control.Response, 1)
	posted := s.post(func() {
		if e == machine.Start {
			s.addNew(r.Names)
		}
		if unknown := s.services.unknown(r.Names); len(unknown) > 0 {
			answer <- control.Response{Code: control.CodeNotFound, Error: "no such service: " + strings.Join(unknown, ", ")}
		} else if order {
			for _, name := range r.Names {
				s.recorder.service(s.services.byName[name], events.Event{Kind: events.Order, To: r.Verb, By: r.Peer})
			}
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
		s.post(func() { s.waiters.forget(answer) })
		return control.Response{Code: control.CodeFailed, Error: "the client has gone"}
	case <-s.ended:
		return control.Response{Code: control.CodeFailed, Error: "the supervisor ended"}
	}
}

// controlKill sends a signal to the first process of a service. What follows is as if anybody had.
func (s *Supervisor) controlKill(r control.Request) control.Response {
	signal, ok := signals.Parse(cmp.Or(r.Signal, "TERM"))
	if !ok || signal == 0 {
		return control.Response{Code: control.CodeUsage, Error: fmt.Sprintf("there is no signal %.64q", r.Signal)}
	}
	if len(r.Names) != 1 {
		return control.Response{Code: control.CodeUsage, Error: fmt.Sprintf("cannot signal %d services: name one", len(r.Names))}
	}
	name := r.Names[0]
	err := s.ask(func() error {
		svc := s.services.byName[name]
		switch {
		case svc == nil:
			return fmt.Errorf("%w: %s", control.ErrNotFound, name)
		case svc.task == nil || svc.pid <= 0:
			return fmt.Errorf("cannot signal %s: it does not run", name)
		}
		s.recorder.service(svc, events.Event{Kind: events.Order, To: r.Verb, Text: signals.Name(signal), By: r.Peer})
		return svc.task.Signal(signal)
	})
	switch {
	case errors.Is(err, control.ErrNotFound):
		return control.Response{Code: control.CodeNotFound, Error: err.Error()}
	case err != nil:
		return control.Response{Code: control.CodeFailed, Error: err.Error()}
	}
	return control.Response{}
}

// addNew makes services of bundles with these names that were added after the boot.
func (s *Supervisor) addNew(names []string) {
	for _, name := range names {
		if s.services.byName[name] != nil || filepath.Base(name) != name || name == "." || name == ".." {
			continue
		}
		if s.swapping[name] {
			continue // The swap adds it.
		}
		if info, err := os.Stat(filepath.Join(s.options.Dir, name)); err == nil && info.IsDir() && s.addCurrent(name, true) {
			s.arrange()
			s.needContainerd()
		}
	}
}

// list describes the named services, or all. Times are by the clock as it is set now, not as
// it was set then.
func (s *Supervisor) list(names []string) control.Response {
	var response control.Response
	wall, boot := time.Now(), s.options.Now()
	if len(names) == 0 {
		names = s.services.names
	}
	for _, name := range names {
		svc := s.shown(s.services.byName[name])
		response.Services = append(response.Services, control.Service{
			Name: name, State: string(svc.state), PID: svc.pid, Since: wall.Add(svc.since - boot),
			Restarts: svc.restarts, LastExit: svc.lastExit, Error: svc.reason, Status: svc.status,
			Version: svc.version.Digest(), Sockets: s.sockets.List(name),
			Probe: svc.probed, Bundle: svc.dir, After: slices.Clone(s.services.graph.Before(name)), Requires: slices.Clone(s.services.graph.Requires(name)),
			Conditions: s.conditionTexts(svc),
		})
	}
	return response
}

// shown returns what is known of a service. Until containerd answers, that is what an
// earlier supervisor has saved.
func (s *Supervisor) shown(svc *service) *service {
	if s.connected {
		return svc
	}
	known := &service{name: svc.name, version: svc.version, state: machine.Waiting, since: svc.since, status: "containerd does not answer yet"}
	if old, ok := s.store.read(svc.name); ok {
		known.restore(old)
		known.state, known.pid, known.since = old.State, old.Pid, old.Entered
		known.status = "as last known: " + known.status
	}
	return known
}

// order carries out an order, or defers it until the running services are known.
func (s *Supervisor) order(e machine.Event, names []string, answer chan control.Response) {
	if s.stopping && e != machine.Stop {
		answer <- control.Response{Code: control.CodeFailed, Error: "the system is shutting down"}
		return
	}
	if !s.connected { // It is not known yet what runs.
		s.delayed = append(s.delayed, func() { s.order(e, names, answer) })
		return
	}
	if e == machine.Stop {
		s.orderStop(names)
	} else {
		s.orderStart(e, names)
	}
	s.waiters = append(s.waiters, &waiter{e, names, answer})
	s.reconcile()
	s.waiters.wake(&s.services)
}

// orderStop stops services and, before them, those that require them.
func (s *Supervisor) orderStop(names []string) {
	var all []string
	for _, name := range names {
		all = append(append(all, name), s.services.graph.Dependents(name)...)
	}
	s.stopLater(all)
}

// orderStart starts services and those of their requirements that do not run.
func (s *Supervisor) orderStart(e machine.Event, names []string) {
	seen := map[string]bool{}
	var order func(name string, e machine.Event)
	order = func(name string, e machine.Event) {
		if seen[name] {
			return
		}
		seen[name] = true
		svc := s.services.byName[name]
		if svc.trial.drops() {
			return
		}
		delete(s.services.toStop, name)
		if svc.trial != nil {
			svc.trial.stopOrdered = false
		}
		svc.history = machine.History{}
		svc.reload = true // The bundle may have been changed.
		for _, other := range s.services.graph.Requires(name) {
			if s.services.byName[other].state.Settled() && s.services.byName[other].state != machine.Exited {
				order(other, machine.Start)
			}
		}
		s.apply(svc, e)
	}
	for _, name := range names {
		order(name, e)
	}
}
