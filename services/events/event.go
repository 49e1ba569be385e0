package events

import (
	"strings"
	"time"
)

// Kind says what an event is about.
type Kind string

// The kinds of events. Name, From, To and the other fields have the meaning given here; the
// table in docs/events.md is for people.
const (
	Service    Kind = "service"    // service Name went from state From to To (package machine); PID, Exit, Restarts
	Blocked    Kind = "blocked"    // service Name waits for something that needs an order, see Text
	Probe      Kind = "probe"      // the probes of service Name say To: "ready", "not ready" or "unhealthy"; before, From
	OOM        Kind = "oom"        // the kernel killed a process of service Name for lack of memory
	Pressure   Kind = "pressure"   // service Name is restarted because memory is short, see Text
	Refused    Kind = "refused"    // the kernel refused service Name another process, see Text
	Sockets    Kind = "sockets"    // kept sockets of service Name are lost, see Text
	Report     Kind = "report"     // service Name has reported Text itself (X_KEELSON_EVENT)
	Order      Kind = "order"      // By has ordered To (start, stop, restart, kill) of service Name
	Swap       Kind = "swap"       // the swap of service Name to Version went from state From to To (package swap)
	Programs   Kind = "programs"   // the same for keelson's own programs
	Containerd Kind = "containerd" // the connection to containerd is To: "connected" or "lost"
	Supervisor Kind = "supervisor" // the supervisor (PID) is To: "started", "stopping" or "ending"
	Power      Kind = "power"      // By has ordered To: "poweroff", "reboot" or "halt"
	System     Kind = "system"     // the boot ended as To: "ready" or "degraded"
	Onboot     Kind = "onboot"     // onboot container Name ended, see Text
	Stage      Kind = "stage"      // stage Name of the boot ended, before the supervisor was started
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{Service, Blocked, Probe, OOM, Pressure, Refused, Sockets, Report, Order, Swap, Programs, Containerd, Supervisor, Power, System, Onboot, Stage}
}

// Event is something that happened. What an event does not have is left out of its JSON.
type Event struct {
	ID        ID            `json:"id"`                  // set by Append
	Time      time.Time     `json:"time"`                // by the wall clock as it was set then, in UTC
	At        time.Duration `json:"at"`                  // since the kernel started (CLOCK_BOOTTIME), in nanoseconds
	Kind      Kind          `json:"kind"`                // what it is about
	Name      string        `json:"name,omitempty"`      // of the service, container or stage
	From      string        `json:"from,omitempty"`      // state before
	To        string        `json:"to,omitempty"`        // state after
	Text      string        `json:"text,omitempty"`      // why, or how, for people
	Container string        `json:"container,omitempty"` // ID of the service's container, if that is not Name: the version beside it in a swap
	PID       int           `json:"pid,omitempty"`       // first process of the service
	Exit      *Exit         `json:"exit,omitempty"`      // how its container ended
	Restarts  int           `json:"restarts,omitempty"`  // how often the supervisor has started it again
	Version   string        `json:"version,omitempty"`   // digest of what replaces the bundle of the image
	By        string        `json:"by,omitempty"`        // who has ordered it
	Took      time.Duration `json:"took,omitempty"`      // in nanoseconds
}

// States of swaps in events, beyond those of package swap.
const (
	swapOrdered = "ordered"
	swapRefused = "refused"
)

// Ordered returns the event of a swap that somebody has ordered, or that was refused.
func Ordered(kind Kind, name, verb, by string, refusal error) Event {
	e := Event{Kind: kind, Name: name, To: swapOrdered, Text: verb, By: by}
	if refusal != nil {
		e.To, e.Text = swapRefused, verb+": "+refusal.Error()
	}
	return e
}

// Exit is how a container ended.
type Exit struct {
	Code    int    `json:"code"`              // 128+N after signal N; -1 if it is not known
	Signal  string `json:"signal,omitempty"`  // that ended it, such as "SIGKILL"
	OOM     bool   `json:"oom,omitempty"`     // the kernel killed one of its processes for lack of memory
	Unknown bool   `json:"unknown,omitempty"` // nobody has seen the end
}

// Limits of texts, in bytes.
const (
	TextLimit = 1 << 10
	NameLimit = 256
)

// limited returns the event with texts of limited size, in valid UTF-8.
func (e Event) limited() Event {
	for _, name := range []*string{&e.Name, &e.From, &e.To, &e.Container, &e.Version, &e.By} {
		*name = cut(*name, NameLimit)
	}
	e.Kind, e.Text = Kind(cut(string(e.Kind), NameLimit)), cut(e.Text, TextLimit)
	if e.Exit != nil {
		exit := *e.Exit
		exit.Signal = cut(exit.Signal, NameLimit)
		e.Exit = &exit
	}
	return e
}

const ellipsis = "…"

// cut shortens a text to limit bytes. The mark at its end says so.
func cut(text string, limit int) string {
	text = strings.ToValidUTF8(text[:min(len(text), limit+1)], "\ufffd")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit-len(ellipsis)], "") + ellipsis
	}
	return text
}

// Filter selects events. An empty list selects all.
type Filter struct {
	Names []string
	Kinds []Kind
}

// Match reports whether a filter selects an event.
func (f Filter) Match(e Event) bool {
	return matches(f.Names, e.Name) && matches(f.Kinds, e.Kind)
}

func matches[T comparable](list []T, one T) bool {
	for _, other := range list {
		if one == other {
			return true
		}
	}
	return len(list) == 0
}
