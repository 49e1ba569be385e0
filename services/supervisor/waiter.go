package supervisor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"keelson/services/control"
	"keelson/services/machine"
)

// waiter is a client that waits for its order to be carried out.
type waiter struct {
	event  machine.Event
	names  []string
	answer chan control.Response // with room for one
}

// carriedOut reports whether there is nothing more to wait for. A service that is not to
// be stopped any more has stopped, or a later order starts it.
func (w *waiter) carriedOut(all *services) bool {
	for _, name := range w.names {
		svc := all.byName[name]
		done := !all.toStop[name]
		if w.event != machine.Stop {
			done = svc.state.Settled() || svc.state == machine.Running || svc.state == machine.Backoff || svc.blocked || svc.awaiting
		}
		if !done {
			return false
		}
	}
	return true
}

// outcome is the answer to an order that is carried out.
func (w *waiter) outcome(all *services) control.Response {
	var failed []string
	for _, name := range w.names {
		svc := all.byName[name]
		why := ""
		switch {
		case w.event == machine.Stop && !svc.state.Settled():
			why = "was ordered to start again"
		case w.event != machine.Stop && svc.state != machine.Running && svc.state != machine.Exited:
			why = cmp.Or(svc.reason, svc.lastExit, string(svc.state))
			if svc.awaiting {
				why = svc.status + "; it is started when that is there"
			}
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

// waiters are the clients that wait.
type waiters []*waiter

// wake answers the orders that are carried out.
func (w *waiters) wake(all *services) {
	left := (*w)[:0]
	for _, waiter := range *w {
		if waiter.carriedOut(all) {
			waiter.answer <- waiter.outcome(all)
		} else {
			left = append(left, waiter)
		}
	}
	clear((*w)[len(left):])
	*w = left
}

// forget removes the waiter whose client has gone.
func (w *waiters) forget(answer chan control.Response) {
	*w = slices.DeleteFunc(*w, func(w *waiter) bool { return w.answer == answer })
}
