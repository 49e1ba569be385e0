package supervisor

import (
	"cmp"
	"os"
	"syscall"

	"keelson/runtime/signals"
	"keelson/runtime/version"
	"keelson/services/control"
	"keelson/services/events"
	"keelson/services/machine"
	"keelson/services/swap"
	"keelson/services/task"
	"keelson/services/versions"
)

// Journal receives what happens as events for programs. Append may be called from any
// goroutine, and does not block. *events.Journal implements it.
type Journal interface{ Append(events.Event) }

// noJournal drops all events.
type noJournal struct{}

func (noJournal) Append(events.Event) {}

// runEnd is the end of a container that no transition has recorded yet.
type runEnd struct {
	exit events.Exit
	pid  int
}

func (s *Supervisor) emit(e events.Event) { s.options.Journal.Append(e) }

// emitFor emits an event of a service.
func (s *Supervisor) emitFor(svc *service, e events.Event) {
	e.Name, e.PID, e.Restarts = svc.base(), cmp.Or(e.PID, svc.pid), svc.restarts
	if svc.version != versions.Image {
		e.Version = svc.version.Text()
	}
	if svc.instance != svc.base() {
		e.Container = svc.instance
	}
	s.emit(e)
}

// recordTransition records that a service has left a state.
func (s *Supervisor) recordTransition(svc *service, before machine.State, text string) {
	e := events.Event{Kind: events.Service, From: string(before), To: string(svc.state), Text: text}
	switch svc.state {
	case machine.Failing, machine.Backoff, machine.Failed:
		e.Text = cmp.Or(text, svc.reason)
	case machine.Running:
		e.Took = s.options.Now() - svc.launched
	}
	if svc.exit != nil {
		e.Exit, e.PID = &svc.exit.exit, svc.exit.pid
		svc.exit = nil
	}
	s.emitFor(svc, e)
}

// recordResumed records that the supervisor before has saved another state than a service has.
func (s *Supervisor) recordResumed(svc *service, before machine.State) {
	if before != svc.state && before != "" {
		s.recordTransition(svc, before, "found by the next supervisor")
	}
}

// recordEnd keeps how a container ended for the transition that follows.
func (s *Supervisor) recordEnd(svc *service, x task.Exit) {
	svc.exit = &runEnd{events.Exit{Code: x.Code, OOM: x.OOM, Unknown: x.Unknown}, svc.pid}
	if signal := x.Signal(); signal != 0 {
		svc.exit.exit.Signal = signals.Name(signal)
	}
	if x.Unknown {
		svc.exit.exit.Code = -1
	}
}

// Results of probes in events.
const (
	probeReady     = "ready"
	probeNotReady  = "not ready"
	probeUnhealthy = "unhealthy"
)

// recordProbe records a result of the probes of a service on which a transition follows.
func (s *Supervisor) recordProbe(svc *service, result string, why error) {
	e := events.Event{Kind: events.Probe, From: svc.probed, To: result}
	if why != nil {
		e.Text = why.Error()
	}
	svc.probed = result
	s.emitFor(svc, e)
}

// recordSwap records that the swap of a service has left a state.
func (s *Supervisor) recordSwap(t *trial, before swap.State) {
	e := events.Event{Kind: events.Swap, Name: t.name, From: string(before), To: string(t.state), Version: t.next.Text(), By: t.by, Text: t.reason}
	if t.state == swap.Committed {
		e.Text, e.Took = "", s.options.Now()-t.begun
	}
	s.emit(e)
}

// recordSwapOrder records that a swap was ordered, or why it was refused.
func (s *Supervisor) recordSwapOrder(r control.Request, name string, refusal error) {
	if !r.Plan {
		s.emit(events.Ordered(events.Swap, name, r.Verb, r.Peer, refusal))
	}
}

// recordOrders records orders of a client.
func (s *Supervisor) recordOrders(r control.Request) {
	for _, name := range r.Names {
		s.emitFor(s.services.byName[name], events.Event{Kind: events.Order, To: r.Verb, By: r.Peer})
	}
}

// recordContainerd records that the connection to containerd was made, or lost.
func (s *Supervisor) recordContainerd(connected bool) {
	to := "lost"
	if connected {
		to = "connected"
	}
	s.emit(events.Event{Kind: events.Containerd, To: to})
}

// recordSupervisor records what this process does.
func (s *Supervisor) recordSupervisor(to, text string) {
	s.emit(events.Event{Kind: events.Supervisor, To: to, Text: cmp.Or(text, version.String()), PID: os.Getpid()})
}

// Power requests a shutdown from PID 1. by says who wants it.
func (s *Supervisor) Power(signal syscall.Signal, by string) error {
	e := events.Event{Kind: events.Power, By: by}
	for verb, other := range powerSignals {
		if other == signal {
			e.To = verb
		}
	}
	s.emit(e)
	return s.options.Power(signal)
}
