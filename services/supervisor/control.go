package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

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
		if takeIn && err == nil && info.IsDir() && filepath.Base(name) == name && name != "." && name != ".." {
			s.add(name)
			s.writeStopDeadline()
			continue
		}
		unknown = append(unknown, name)
	}
	return unknown
}

// list describes the services named, or all. Its code says whether those
// named run.
func (s *Supervisor) list(names []string) control.Response {
	var response control.Response
	all := len(names) == 0
	if all {
		names = s.names()
	}
	for _, name := range names {
		svc := s.services[name]
		response.Services = append(response.Services, control.Service{
			Name: name, State: string(svc.state), PID: svc.pid, Since: svc.since,
			Restarts: svc.restarts, LastExit: svc.lastExit, Error: svc.reason,
		})
		if !all && svc.state != machine.Running {
			response.Code = control.CodeNotRunning
		}
	}
	return response
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
	for _, name := range names {
		svc := s.services[name]
		if svc.state.Settled() && e != machine.Stop {
			svc.bundle = nil // it may have been changed
		}
		s.apply(svc, e)
	}
	s.waiters = append(s.waiters, &waiter{e, names, answer})
	s.wakeWaiters()
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

func (s *Supervisor) carriedOut(w *waiter) bool {
	for _, name := range w.names {
		state := s.services[name].state
		done := state.Settled()
		if w.event != machine.Stop {
			done = done || state == machine.Running || state == machine.Backoff
		}
		if !done {
			return false
		}
	}
	return true
}

func (s *Supervisor) outcome(w *waiter) control.Response {
	if w.event == machine.Stop {
		return control.Response{}
	}
	var failed []string
	for _, name := range w.names {
		svc := s.services[name]
		if svc.state != machine.Running && svc.state != machine.Exited {
			why := svc.reason
			if why == "" {
				why = svc.lastExit
			}
			failed = append(failed, fmt.Sprintf("%s: %s", name, why))
		}
	}
	if len(failed) > 0 {
		return control.Response{Code: control.CodeFailed, Error: strings.Join(failed, "\n")}
	}
	return control.Response{}
}
