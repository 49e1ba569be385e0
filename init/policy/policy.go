package policy

import (
	"fmt"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
)

// Action is what is done after an attempt.
type Action int

const (
	Next   Action = iota // go on with the next container
	Retry                // run this one again
	Rescue               // ask a person
	Wait                 // do nothing until PID 1 is asked to go down
	Reboot               // run no further container, and so on for the others
	PowerOff
	Halt
)

// actions by the words of annotations and of the command line.
var actions = map[string]Action{
	bundle.Continue: Next, bundle.Rescue: Rescue, bundle.Reboot: Reboot, bundle.PowerOff: PowerOff, bundle.Halt: Halt,
	waitWord: Wait,
}

// String is the action in words for the console.
func (a Action) String() string {
	return [...]string{"continuing", "trying again", "rescue", "waiting to be rebooted, powered off or halted",
		"rebooting", "powering off", "halting"}[a]
}

// Rules are what holds for one container.
type Rules struct {
	OnFailure string // bundle.Continue, …; empty means Continue
	Source    string // where that was said, for people
	Instead   Action // in place of Rescue; Rescue: it is allowed
	Note      string // why, for people

	Retries  int
	Delay    time.Duration // before the first further attempt, doubling
	MaxDelay time.Duration // where doubling ends
}

// Decision is what to do next, and why.
type Decision struct {
	Action Action
	Pause  time.Duration // before Retry
	Words  string        // for people: "continuing (keelson.on-failure=continue)"; may be empty
}

// After decides what follows attempt number n, from 1, of a container.
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
