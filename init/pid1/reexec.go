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
	// PID 1 re-executes itself at most reexecMax times within reexecPeriod. After that
	// it continues as it is, so a panic that always recurs does not loop forever.
	reexecMax    = 5
	reexecPeriod = time.Minute
	// panicPause is how long a goroutine pauses after a panic.
	panicPause = time.Second
	// consoleLimit is how long the consoles may take to show the panic; what they have
	// not shown by then is in the handover.
	consoleLimit = time.Second
	// freezeLimit is how long to wait for the start of a program.
	freezeLimit = 2 * time.Second
	// stackLines bounds the stack trace.
	stackLines = 40
)

// serve runs f in a goroutine. After a panic PID 1 re-executes itself; if it cannot, f
// is called again after a pause.
func (p *pid1) serve(name string, f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !p.survive(name, f) {
			<-time.After(panicPause)
		}
	}()
	return done
}

// survive calls f and reports whether it returned without a panic.
func (p *pid1) survive(name string, f func()) (ended bool) {
	defer func() {
		if r := recover(); r != nil {
			p.panicked(name, r, debug.Stack())
		}
	}()
	f()
	return true
}

// panicked logs a panic and re-executes PID 1. It returns only if it cannot.
func (p *pid1) panicked(in string, value any, stack []byte) {
	p.log.Error("PID 1 panicked", "in", in, "panic", value)
	lines := strings.Split(strings.TrimSpace(string(stack)), "\n")
	for _, line := range lines[:min(len(lines), stackLines)] {
		p.log.Error("  " + line) // One record for each line: records of the kernel log are short.
	}
	if !p.reexecuting.TryLock() {
		return // Another goroutine re-executes PID 1.
	}
	defer p.reexecuting.Unlock()
	p.log.Error("PID 1 cannot re-execute itself and continues as it is", "error", p.reexec(in))
}

var errPanics = errors.New("it has panicked too often")

// reexec replaces the program by a new image of itself with execve(2). The process keeps
// its PID and its children; its state is passed in a memfd (package handover). It
// returns only if it fails.
func (p *pid1) reexec(in string) error {
	if p.reaper == nil {
		return errors.New("it is too early: children could not be taken over")
	}
	if !p.mayReexec(timeline.Now()) {
		return fmt.Errorf("%w: more than %d times within %v", errPanics, reexecMax, reexecPeriod)
	}
	if in != "console" { // The goroutine that panicked would have to write it.
		ctx, cancel := context.WithTimeout(context.Background(), consoleLimit)
		_ = p.console.Flush(ctx) // The rest is in the handover.
		cancel()
	}
	// No child is started or reaped from here on, so the list stays complete.
	children, started, thaw, err := p.reaper.Freeze(freezeLimit)
	if err != nil {
		return err
	}
	defer thaw()
	// The Go runtime of the new program exits if it gets no thread …
	if err := p.reaper.TryStart(); err != nil {
		return fmt.Errorf("cannot start a process: %w", err)
	}
	_ = kernel.RaiseLimits(p.env.Machine, p.line) // … or no file descriptor.
	if p.handover == nil {
		if p.handover, err = handover.New(); err != nil {
			return err
		}
	}
	s := p.summary()
	s.Children, s.Started = children, started
	if s.Descriptors, err = p.keepDescriptors(true); err != nil { // No child is started that would inherit them.
		return err
	}
	defer func() { _, _ = p.keepDescriptors(false) }()
	defer p.signals.forward(nil)
	caught, err := p.handover.Exec(role.Init, relevantSignals(), func() ([]byte, error) {
		p.signals.drain()
		s.Action = p.signals.forward(p.handover)
		s.Unwritten = p.console.Queued()
		return s.encode()
	})
	p.signals.handleCaught(caught)
	return err
}

// mayReexec counts a panic and reports whether PID 1 may re-execute itself.
func (p *pid1) mayReexec(now time.Duration) (may bool) {
	p.note(func(s *state) {
		var recent []time.Duration
		for _, at := range s.Panics {
			if now-at < reexecPeriod {
				recent = append(recent, at)
			}
		}
		if may = len(recent) < reexecMax; may {
			recent = append(recent, now)
		}
		s.Panics = recent
	})
	return may
}

// Resumed reports whether PID 1 has re-executed itself.
func Resumed() bool { return handover.Inherited() }
