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
	firstPause = 100 * time.Millisecond // before a terminal at its end is opened again, doubling
	lastPause  = 10 * time.Second
	flushLimit = 2 * time.Second // for messages that are to come before a prompt
)

// ErrInterrupted is why an attempt ends on ctrl-C.
var ErrInterrupted = errors.New("interrupted at the console")

// Output is the part of a console that a session needs.
type Output interface {
	Event(timeline.Event)
	Raw([]byte)
	Flush(context.Context) error
}

// Session is one stop of the boot.
type Session struct {
	Why     string                          // such as "onboot 003-format failed"
	Path    string                          // of the terminal, from Path
	Results func() []oneshot.Result         // of the containers so far
	Rest    []string                        // names of those to come
	Retry   func(context.Context) bool      // runs the failed container again; nil: none has failed
	Shell   func(context.Context, *os.File) // runs the image's shell on a terminal; nil: it has none
	Out     Output
	// NoKernelLog: the kernel log is an outer system's.
	NoKernelLog bool
	Log         *slog.Logger
}

// answer is what came of a talk.
type answer int

const (
	decided answer = iota
	atEnd          // the terminal is
	toShell
)

// Run asks until somebody has decided: policy.Next, Reboot, PowerOff or Halt.
// Where there is nobody to ask, or when ctx ends, that is policy.Wait.
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
	ends := 0 // of the terminal, one after the other
	for ctx.Err() == nil {
		f, err := open(s.Path)
		if err != nil {
			s.Log.Error("there is nobody to ask", "error", err)
			return policy.Wait
		}
		makeSane(f, forPrompt)
		t := &talk{session: s, terminal: f}
		how, action := t.run(ctx)
		_ = f.Close() // All that counts has been read.
		if t.heard {
			ends = 0
		}
		switch how {
		case decided:
			return action
		case toShell:
			s.shell(ctx)
		case atEnd:
			ends++
			backoff.Wait(ctx, backoff.Delay(ends, firstPause, lastPause))
		}
	}
	return policy.Wait
}

// shell gives the terminal to the image's shell until that ends or the
// terminal does.
func (s *Session) shell(ctx context.Context) {
	f, err := forOthers(s.Path)
	if err != nil {
		s.Log.Error("no shell", "error", err)
		return
	}
	defer f.Close()
	watched, err := open(s.Path)
	if err != nil {
		s.Log.Error("no shell", "error", err)
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
	_ = s.Out.Flush(ctx) // Late messages are a nuisance, no more.
}

// say writes to the terminal; one that is gone will tell when it is read.
func say(w io.Writer, text string) { _, _ = io.WriteString(w, text) }
