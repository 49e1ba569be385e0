package supervisor

import (
	"cmp"
	"os"
	"syscall"
	"time"

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

// recorder records what happens as events for programs. Its methods may be called from any
// goroutine, except those with a service, which belong to Serve's.
type recorder struct {
	journal Journal
	now     func() time.Duration
}

func (r recorder) emit(e events.Event) { r.journal.Append(e) }

// service emits an event of a service.
func (r recorder) service(svc *service, e events.Event) {
	e.Name, e.PID, e.Restarts = svc.base(), cmp.Or(e.PID, svc.pid), svc.restarts
	if svc.version != versions.Image {
		e.Version = svc.version.Text()
	}
	if svc.instance != svc.base() {
		e.Container = svc.instance
	}
	r.emit(e)
}

// transition records that a service has left a state.
func (r recorder) transition(svc *service, before machine.State, text string) {
	e := events.Event{Kind: events.Service, From: string(before), To: string(svc.state), Text: text}
	switch svc.state {
	case machine.Failing, machine.Backoff, machine.Failed:
		e.Text = cmp.Or(text, svc.reason)
	case machine.Running:
		e.Took = r.now() - svc.launched
	}
	if svc.exit != nil {
		e.Exit, e.PID = &svc.exit.exit, svc.exit.pid
		svc.exit = nil
	}
	r.service(svc, e)
}

// resumed records that the supervisor before has saved another state than a service has.
func (r recorder) resumed(svc *service, before machine.State) {
	if before != svc.state && before != "" {
		r.transition(svc, before, "found by the next supervisor")
	}
}

// end keeps how a container ended for the transition that follows.
func (r recorder) end(svc *service, x task.Exit) {
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

// probe records a result of the probes of a service on which a transition follows.
func (r recorder) probe(svc *service, result string, why error) {
	e := events.Event{Kind: events.Probe, From: svc.probed, To: result}
	if why != nil {
		e.Text = why.Error()
	}
	svc.probed = result
	r.service(svc, e)
}

// swap records that the swap of a service has left a state.
func (r recorder) swap(t *trial, before swap.State) {
	e := events.Event{Kind: events.Swap, Name: t.Name, From: string(before), To: string(t.state), Version: t.Next.Text(), By: t.by, Text: t.reason}
	if t.state == swap.Committed {
		e.Text, e.Took = "", r.now()-t.begun
	}
	r.emit(e)
}

// swapOrder records that a swap was ordered, or why it was refused.
func (r recorder) swapOrder(order control.Request, name string, refusal error) {
	if !order.Plan {
		r.emit(events.Ordered(events.Swap, name, order.Verb, order.Peer, refusal))
	}
}

// containerd records that the connection to containerd was made, or lost.
func (r recorder) containerd(connected bool) {
	to := "lost"
	if connected {
		to = "connected"
	}
	r.emit(events.Event{Kind: events.Containerd, To: to})
}

// supervisor records what this process does.
func (r recorder) supervisor(to, text string) {
	r.emit(events.Event{Kind: events.Supervisor, To: to, Text: cmp.Or(text, version.String()), PID: os.Getpid()})
}

// Power requests a shutdown from PID 1. by says who wants it.
func (s *Supervisor) Power(signal syscall.Signal, by string) error {
	e := events.Event{Kind: events.Power, By: by}
	for verb, other := range powerSignals {
		if other == signal {
			e.To = verb
		}
	}
	s.recorder.emit(e)
	return s.options.Power(signal)
}
