package policy

import (
	"fmt"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
)

// Action is what to do after an attempt.
type Action int

const (
	Next   Action = iota // continue with the next container
	Retry                // run this container again
	Rescue               // ask at the console
	Wait                 // do nothing until PID 1 is asked to shut down
	Reboot               // run no further container; the same for PowerOff and Halt
	PowerOff
	Halt
)

// actions maps the values of annotations and of the command line to actions.
var actions = map[string]Action{
	bundle.Continue: Next, bundle.Rescue: Rescue, bundle.Reboot: Reboot, bundle.PowerOff: PowerOff, bundle.Halt: Halt,
	waitWord: Wait,
}

// String returns the action as the console shows it.
func (a Action) String() string {
	return [...]string{"continuing", "trying again", "rescue", "waiting to be rebooted, powered off or halted",
		"rebooting", "powering off", "halting"}[a]
}

// Rules are the rules for one container.
type Rules struct {
	OnFailure string // bundle.Continue, …; empty means Continue
	Source    string // the setting that OnFailure is from, for messages
	Instead   Action // in place of Rescue; Rescue if rescue is allowed
	Note      string // the setting that Instead is from, for messages

	Retries  int
	Delay    time.Duration // before the first further attempt, doubling
	MaxDelay time.Duration // upper limit of the doubling
}

// Decision is what to do next, and why.
type Decision struct {
	Action Action
	Pause  time.Duration // before Retry
	Words  string        // for messages: "continuing (keelson.on-failure=continue)"; may be empty
}

// After decides what follows attempt n of a container, counted from 1.
func After(ok bool, n int, r Rules) Decision {
	total := r.Retries + 1
	switch {
	case ok && n == 1:
		return Decision{Action: Next}
	case ok:
		return Decision{Action: Next, Words: "it took " + count(n)}
	case n < total:
		pause := backoff.Delay(n, r.Delay, r.MaxDelay)
		return Decision{Action: Retry, Pause: pause,
			Words: fmt.Sprintf("attempt %d of %d in %v (keelson.retries=%d)", n+1, total, pause, r.Retries)}
	}
	a, why := actions[r.OnFailure], r.Source
	if a == Rescue && r.Instead != Rescue {
		a, why = r.Instead, why+", "+r.Note
	}
	words := fmt.Sprintf("%v (%s)", a, why)
	if n > 1 {
		words = count(n) + " failed, " + words
	}
	return Decision{Action: a, Words: words}
}

func count(attempts int) string { return fmt.Sprintf("%d attempts", attempts) }
