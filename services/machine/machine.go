package machine

import (
	"fmt"
	"strings"
)

// State of a service.
type State string

// The states. Wanted ones have a container or are on the way to one.
const (
	Stopped    State = "stopped"    // not wanted, nothing is there
	Waiting    State = "waiting"    // wanted, may not start yet
	Starting   State = "starting"   // its container is being made
	Activating State = "activating" // its first process runs; it is not ready yet
	Running    State = "running"    // it runs and is ready
	Failing    State = "failing"    // not ready in time or not healthy; told to stop
	Stopping   State = "stopping"   // told to stop
	Restarting State = "restarting" // told to stop, to be started again
	Backoff    State = "backoff"    // ended or not started, waits for its next start
	Exited     State = "exited"     // ended by itself, with success, and stays so
	Failed     State = "failed"     // ended or not started, and stays so
)

// States lists all states.
func States() []State {
	return []State{Stopped, Waiting, Starting, Activating, Running, Failing, Stopping, Restarting, Backoff, Exited, Failed}
}

// Settled is true of states in which nothing will happen without an order.
func (s State) Settled() bool { return s == Stopped || s == Exited || s == Failed }

// Event is what can happen to a service.
type Event string

// The events.
const (
	Start     Event = "start"     // order
	Stop      Event = "stop"      // order
	Restart   Event = "restart"   // order
	Go        Event = "go"        // nothing is in the way of a start any more
	Started   Event = "started"   // its first process runs
	Ready     Event = "ready"     // it can be used
	Unhealthy Event = "unhealthy" // not ready in time, or not well any more
	Retry     Event = "retry"     // ended or not started; to be tried again
	Done      Event = "done"      // ended with success; stays so
	Fail      Event = "fail"      // ended or not started; stays so
	Delay     Event = "delay"     // the wait before the next start is over
	Timeout   Event = "timeout"   // the time to stop is over
)

// Events lists all events.
func Events() []Event {
	return []Event{Start, Stop, Restart, Go, Started, Ready, Unhealthy, Retry, Done, Fail, Delay, Timeout}
}

// Action is what the supervisor has to do.
type Action string

// The actions.
const (
	Check       Action = "check"        // send Go as soon as it may start
	Launch      Action = "launch"       // prepare, create and start the container
	Abort       Action = "abort"        // give up the launch under way
	Probe       Action = "probe"        // send Ready as soon as it is, or Unhealthy
	Watch       Action = "watch"        // send Unhealthy when it is not well any more
	Signal      Action = "signal"       // send the stop signal, Timeout later
	Kill        Action = "kill"         // send SIGKILL to all its processes
	ArmDelay    Action = "arm-delay"    // send Delay after the back-off
	CancelDelay Action = "cancel-delay" // do not
	Release     Action = "release"      // take down its mounts
)

// Next is what follows.
type Next struct {
	State   State
	Actions []Action
}

// table holds the cells in which something happens.
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
		Stop:    {Stopping, []Action{Abort}}, // Started may still be on its way
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

// On looks up what follows in state s on event e.
func On(s State, e Event) Next {
	if next, ok := table[s][e]; ok {
		return next
	}
	return Next{State: s}
}

// Table is the table in Markdown, for the documentation.
func Table() string {
	var b strings.Builder
	b.WriteString("| state | event | next state | actions |\n|---|---|---|---|\n")
	each(func(s State, e Event, next Next) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s, e, next.State, joined(next.Actions))
	})
	return b.String()
}

// Diagram is the table as a Mermaid state diagram, for the documentation.
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

// each goes through the cells in which something happens.
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
