package rescue

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"keelson/init/policy"
	"keelson/runtime/backoff"
	"keelson/runtime/oneshot"
	"keelson/runtime/timeline"
)

const (
	firstPause = 100 * time.Millisecond // before the terminal is opened again; it doubles
	lastPause  = 10 * time.Second
	flushLimit = 2 * time.Second // for writing pending messages before a prompt
)

// ErrInterrupted is the cause of the cancellation of an attempt by ctrl-C.
var ErrInterrupted = errors.New("interrupted at the console")

// Output is the part of a console that a session uses.
type Output interface {
	Event(timeline.Event)
	Raw([]byte)
	Flush(context.Context) error
}

// Session is an interruption of the boot.
type Session struct {
	Why     string                          // such as "onboot 003-format failed"
	Path    string                          // of the terminal, from Path
	Results func() []oneshot.Result         // of the containers so far
	Rest    []string                        // names of the containers not yet run
	Retry   func(context.Context) bool      // runs the failed container again; nil if none has failed
	Shell   func(context.Context, *os.File) // runs the image's shell on a terminal; nil if it has none
	Out     Output
	// NoKernelLog is set if the kernel log belongs to an outer system.
	NoKernelLog bool
	Log         *slog.Logger
}

// answer is how a prompt ended.
type answer int

const (
	decided  answer = iota // an action was chosen
	closed                 // end of file on the terminal
	runShell               // the shell was asked for
)

// Run asks until an action is chosen: policy.Next, Reboot, PowerOff or Halt. Without a
// terminal, or when ctx ends, it returns policy.Wait.
func (s *Session) Run(ctx context.Context) policy.Action {
	began := timeline.Now()
	s.Out.Event(timeline.Event{At: began, Stage: timeline.Rescue, Result: s.Why})
	s.Out.Raw([]byte("The boot has stopped: " + s.Why + ". Services are not started.\nThe last console= asks what to do.\n"))
	a := s.ask(ctx)
	if ctx.Err() == nil {
		now := timeline.Now()
		s.Out.Event(timeline.Event{At: now, Stage: timeline.Rescue, Result: a.String(), Took: now - began})
	}
	return a
}

func (s *Session) ask(ctx context.Context) policy.Action {
	if s.Shell != nil {
		s.shell(ctx)
	}
	ends := 0 // consecutive ends of file without input
	for ctx.Err() == nil {
		f, err := open(s.Path)
		if err != nil {
			s.Log.Error("cannot open a terminal for the rescue prompt", "error", err)
			return policy.Wait
		}
		resetTerminal(f, promptMode)
		p := &prompt{session: s, terminal: f}
		how, action := p.run(ctx)
		_ = f.Close() // There is nothing more to read.
		if p.gotInput {
			ends = 0
		}
		switch how {
		case decided:
			return action
		case runShell:
			s.shell(ctx)
		case closed:
			ends++
			backoff.Wait(ctx, backoff.Delay(ends, firstPause, lastPause))
		}
	}
	return policy.Wait
}

// shell runs the image's shell on the terminal until the shell ends or the terminal is
// hung up.
func (s *Session) shell(ctx context.Context) {
	f, err := openForProgram(s.Path)
	if err != nil {
		s.Log.Error("cannot start the rescue shell", "error", err)
		return
	}
	defer f.Close()
	watched, err := open(s.Path)
	if err != nil {
		s.Log.Error("cannot start the rescue shell", "error", err)
		return
	}
	s.flush(ctx)
	ctx, cancel := context.WithCancel(ctx)
	watch := make(chan struct{})
	go func() {
		defer close(watch)
		waitHangup(watched)
		cancel()
	}()
	s.Shell(ctx, f)
	_ = watched.Close()
	<-watch
}

func (s *Session) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushLimit)
	defer cancel()
	_ = s.Out.Flush(ctx) // On failure, messages appear after the prompt.
}

// write writes to the terminal. It ignores errors: the next read reports a terminal
// that is gone.
func write(w io.Writer, text string) { _, _ = io.WriteString(w, text) }
