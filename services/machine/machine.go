package machine

import (
	"fmt"
	"strings"
)

// State of a service.
type State string

// The states of a service.
const (
	Stopped    State = "stopped"    // not to run; it has no container
	Waiting    State = "waiting"    // to run, and may not start yet
	Starting   State = "starting"   // its container is being made
	Activating State = "activating" // its first process runs; it is not ready yet
	Running    State = "running"    // its first process runs, and it is ready
	Failing    State = "failing"    // not ready in time, or unhealthy; it is being stopped
	Stopping   State = "stopping"   // it is being stopped
	Restarting State = "restarting" // it is being stopped, to be started again
	Backoff    State = "backoff"    // ended, or not started; the delay before the next start passes
	Exited     State = "exited"     // ended successfully without a stop; not started again
	Failed     State = "failed"     // ended, or not started; not started again
)

// States returns all states.
func States() []State {
	return []State{Stopped, Waiting, Starting, Activating, Running, Failing, Stopping, Restarting, Backoff, Exited, Failed}
}

// Settled reports whether nothing happens in a state without an order.
func (s State) Settled() bool { return s == Stopped || s == Exited || s == Failed }

// Event is something that happens to a service.
type Event string

// The events of a service.
const (
	Start     Event = "start"     // order
	Stop      Event = "stop"      // order
	Restart   Event = "restart"   // order
	Go        Event = "go"        // it may start
	Started   Event = "started"   // its first process runs
	Ready     Event = "ready"     // its readiness probe succeeded, or it has none
	Unhealthy Event = "unhealthy" // not ready in time, or its health checks failed
	Retry     Event = "retry"     // ended, or not started; to be started again
	Done      Event = "done"      // ended with success; not to be started again
	Fail      Event = "fail"      // ended, or not started; not to be started again
	Delay     Event = "delay"     // the delay before the next start is over
	Timeout   Event = "timeout"   // the time to stop is over
)

// Events returns all events.
func Events() []Event {
	return []Event{Start, Stop, Restart, Go, Started, Ready, Unhealthy, Retry, Done, Fail, Delay, Timeout}
}

// Action is something that the supervisor does.
type Action string

// The actions of the supervisor.
const (
	Check       Action = "check"        // send Go when the service may start
	Launch      Action = "launch"       // prepare, create and start the container
	Abort       Action = "abort"        // give up the launch
	Probe       Action = "probe"        // send Ready when the service is ready, or Unhealthy
	Watch       Action = "watch"        // send Unhealthy when health checks fail
	Signal      Action = "signal"       // send the stop signal, and Timeout when that time is over
	Kill        Action = "kill"         // send SIGKILL to all processes of the service
	ArmDelay    Action = "arm-delay"    // send Delay after the back-off
	CancelDelay Action = "cancel-delay" // do not send Delay
	Release     Action = "release"      // remove the mounts of the service
)

// Next is a cell of the table.
type Next struct {
	State   State
	Actions []Action
}

// table has the cells in which something happens.
var table = map[State]map[Event]Next{
	Stopped: {
		Start:   {Waiting, []Action{Check}},
		Restart: {Waiting, []Action{Check}},
	},
	Waiting: {
		Stop: {Stopped, []Action{Release}},
		Go:   {Starting, []Action{Launch}},
	},
	Starting: {
		Stop:    {Stopping, []Action{Abort}}, // Started may be reported meanwhile
		Restart: {Restarting, []Action{Abort}},
		Started: {Activating, []Action{Probe}},
		Retry:   {Backoff, []Action{ArmDelay}},
		Done:    {Exited, []Action{Release}},
		Fail:    {Failed, []Action{Release}},
	},
	Activating: {
		Stop:      {Stopping, []Action{Signal}},
		Restart:   {Restarting, []Action{Signal}},
		Ready:     {Running, []Action{Watch}},
		Unhealthy: {Failing, []Action{Signal}},
		Retry:     {Backoff, []Action{ArmDelay}},
		Done:      {Exited, []Action{Release}},
		Fail:      {Failed, []Action{Release}},
	},
	Running: {
		Stop:      {Stopping, []Action{Signal}},
		Restart:   {Restarting, []Action{Signal}},
		Unhealthy: {Failing, []Action{Signal}},
		Retry:     {Backoff, []Action{ArmDelay}},
		Done:      {Exited, []Action{Release}},
		Fail:      {Failed, []Action{Release}},
	},
	Failing: {
		Stop:    {Stopping, nil},
		Restart: {Restarting, nil},
		Retry:   {Backoff, []Action{ArmDelay}},
		Done:    {Exited, []Action{Release}},
		Fail:    {Failed, []Action{Release}},
		Timeout: {Failing, []Action{Kill}},
	},
	Stopping: {
		Start:   {Restarting, nil},
		Restart: {Restarting, nil},
		Started: {Stopping, []Action{Signal}},
		Retry:   {Stopped, []Action{Release}},
		Done:    {Stopped, []Action{Release}},
		Fail:    {Stopped, []Action{Release}},
		Timeout: {Stopping, []Action{Kill}},
	},
	Restarting: {
		Stop:    {Stopping, nil},
		Started: {Restarting, []Action{Signal}},
		Retry:   {Waiting, []Action{Check}},
		Done:    {Waiting, []Action{Check}},
		Fail:    {Waiting, []Action{Check}},
		Timeout: {Restarting, []Action{Kill}},
	},
	Backoff: {
		Start:   {Waiting, []Action{CancelDelay, Check}},
		Stop:    {Stopped, []Action{CancelDelay, Release}},
		Restart: {Waiting, []Action{CancelDelay, Check}},
		Delay:   {Waiting, []Action{Check}},
	},
	Exited: {
		Start:   {Waiting, []Action{Check}},
		Stop:    {Stopped, nil},
		Restart: {Waiting, []Action{Check}},
	},
	Failed: {
		Start:   {Waiting, []Action{Check}},
		Stop:    {Stopped, nil},
		Restart: {Waiting, []Action{Check}},
	},
}

// On returns what follows event e in state s.
func On(s State, e Event) Next {
	if next, ok := table[s][e]; ok {
		return next
	}
	return Next{State: s}
}

// Table returns the table in Markdown, for the documentation.
func Table() string {
	var b strings.Builder
	b.WriteString("| state | event | next state | actions |\n|---|---|---|---|\n")
	each(func(s State, e Event, next Next) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s, e, next.State, joined(next.Actions))
	})
	return b.String()
}

// Diagram returns the table as a Mermaid state diagram, for the documentation.
func Diagram() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    [*] --> stopped\n")
	each(func(s State, e Event, next Next) {
		label := string(e)
		if len(next.Actions) > 0 {
			label += " / " + joined(next.Actions)
		}
		fmt.Fprintf(&b, "    %s --> %s: %s\n", s, next.State, label)
	})
	return b.String()
}

// each calls f for the cells in which something happens.
func each(f func(State, Event, Next)) {
	for _, s := range States() {
		for _, e := range Events() {
			if next, ok := table[s][e]; ok {
				f(s, e, next)
			}
		}
	}
}

func joined(actions []Action) string {
	words := make([]string, len(actions))
	for i, a := range actions {
		words[i] = string(a)
	}
	return strings.Join(words, ", ")
}
