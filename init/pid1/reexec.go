package pid1

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"keelson/init/pid1/handover"
	"keelson/init/pid1/kernel"
	"keelson/init/role"
	"keelson/runtime/timeline"
)

const (
	// againMost panics within againPeriod end in another execution; after more
	// PID 1 goes on as it is, so that what panics always does not keep it busy.
	againMost   = 5
	againPeriod = time.Minute
	// restPause is how long a goroutine rests after a panic.
	restPause = time.Second
	// tellLimit is how long the consoles may take to show what happened; what they
	// have not shown then is handed over.
	tellLimit = time.Second
	// freezeLimit is how long a program that is being started may take.
	freezeLimit = 2 * time.Second
	// stackLines bounds the account of a panic.
	stackLines = 40
)

// serve runs f in a goroutine that cannot take the system down: after a panic
// PID 1 executes itself again, and where that cannot be done f is called again.
func (p *pid1) serve(name string, f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !p.survive(name, f) {
			<-time.After(restPause)
		}
	}()
	return done
}

// survive tells whether f has returned without a panic.
func (p *pid1) survive(name string, f func()) (ended bool) {
	defer func() {
		if r := recover(); r != nil {
			p.panicked(name, r, debug.Stack())
		}
	}()
	f()
	return true
}

// panicked says what happened and executes PID 1 again. It returns when that
// cannot be done.
func (p *pid1) panicked(in string, value any, stack []byte) {
	p.log.Error("PID 1 panicked", "in", in, "panic", value)
	lines := strings.Split(strings.TrimSpace(string(stack)), "\n")
	for _, line := range lines[:min(len(lines), stackLines)] {
		p.log.Error("  " + line) // Each a record of its own: those of the kernel's log are short.
	}
	if !p.again.TryLock() {
		return // Another goroutine is about to.
	}
	defer p.again.Unlock()
	p.log.Error("PID 1 goes on without executing itself again", "error", p.executeAgain(in))
}

var errPanics = errors.New("it has panicked too often")

// executeAgain replaces this program by a fresh one in the same process, whose
// children stay, and hands it all that is known.
func (p *pid1) executeAgain(in string) error {
	if p.reaper == nil {
		return errors.New("it has not come so far as to take children over")
	}
	if !p.mayExecute(timeline.Now()) {
		return fmt.Errorf("%w: more than %d times within %v", errPanics, againMost, againPeriod)
	}
	if in != "console" { // Which is the one that would have to show it.
		ctx, cancel := context.WithTimeout(context.Background(), tellLimit)
		_ = p.console.Flush(ctx) // The rest is handed over.
		cancel()
	}
	// From here on nothing is started, so that all children are known.
	children, begun, thaw, err := p.reaper.Freeze(freezeLimit)
	if err != nil {
		return err
	}
	defer thaw()
	// The new program needs threads, and cannot live without.
	if err := p.reaper.TryStart(); err != nil {
		return fmt.Errorf("no process can be started: %w", err)
	}
	_ = kernel.RaiseLimits(p.env.Machine) // Nor without file descriptors.
	if p.handover == nil {
		if p.handover, err = handover.New(); err != nil {
			return err
		}
	}
	s := p.summary()
	s.Children, s.Begun = children, begun
	defer p.signals.forward(nil)
	caught, err := p.handover.Exec(role.Init, relevantSignals(), func() ([]byte, error) {
		p.signals.drain()
		s.Action = p.signals.forward(p.handover)
		s.Unsaid = p.console.Queued()
		return s.encode()
	})
	p.signals.takeCaught(caught)
	return err
}

// mayExecute counts a panic.
func (p *pid1) mayExecute(now time.Duration) (may bool) {
	p.note(func(s *state) {
		var recent []time.Duration
		for _, at := range s.Panics {
			if now-at < againPeriod {
				recent = append(recent, at)
			}
		}
		if may = len(recent) < againMost; may {
			recent = append(recent, now)
		}
		s.Panics = recent
	})
	return may
}

// Resumed reports whether PID 1 has re-executed itself.
func Resumed() bool { return handover.Inherited() }
