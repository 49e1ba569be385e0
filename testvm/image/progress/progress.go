// Package progress shows long steps to a person: bars on a terminal, plain lines
// otherwise. It is not for logs.
package progress

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Progress receives long steps.
type Progress interface {
	// Start begins a step.
	Start(what string) Task
	// Note shows a message that is not a step.
	Note(text string)
}

// Task is a step in progress.
type Task interface {
	// Done ends the step, which failed if err is not nil.
	Done(err error)
}

// Discard shows nothing.
var Discard Progress = discard{}

type discard struct{}

func (discard) Start(string) Task { return discard{} }
func (discard) Note(string)       {}
func (discard) Done(error)        {}

// Lines writes a line when a step begins and one when it ends.
func Lines(w io.Writer) Progress { return &lines{w: w} }

type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) print(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, format+"\n", args...)
}

func (l *lines) Note(text string) { l.print("%s", text) }

func (l *lines) Start(what string) Task {
	l.print("%s …", what)
	return &line{l, what, time.Now()}
}

type line struct {
	l     *lines
	what  string
	begun time.Time
}

func (t *line) Done(err error) { t.l.print("%s: %s", t.what, outcome(err, t.begun)) }

func outcome(err error, begun time.Time) string {
	if err != nil {
		return "failed"
	}
	return fmt.Sprintf("done in %.1f s", time.Since(begun).Seconds())
}

// Bars draws spinners on a terminal. Close restores the terminal.
type Bars struct{ p *mpb.Progress }

// NewBars draws on w.
func NewBars(w io.Writer) *Bars { return &Bars{mpb.New(mpb.WithOutput(w), mpb.WithWidth(8))} }

// Close waits until everything is drawn.
func (b *Bars) Close() { b.p.Wait() }

// Note writes a line above the spinners.
func (b *Bars) Note(text string) { fmt.Fprintln(b.p, text) }

// Start draws a spinner.
func (b *Bars) Start(what string) Task {
	t := &bar{begun: time.Now()}
	t.bar = b.p.AddSpinner(1,
		mpb.AppendDecorators(decor.Name(what), decor.Any(func(s decor.Statistics) string {
			if s.Completed {
				return ": " + outcome(nil, t.begun)
			}
			return fmt.Sprintf(" … %.0f s", time.Since(t.begun).Seconds())
		})))
	return t
}

type bar struct {
	bar   *mpb.Bar
	begun time.Time
}

func (t *bar) Done(err error) {
	if err != nil {
		t.bar.Abort(false)
		return
	}
	t.bar.Increment()
}
