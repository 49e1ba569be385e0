// Package step runs lists of steps. The boot and the shutdown are lists of named steps,
// each with what its failure means. Run runs a list, times the steps and records them on
// the timeline.
//
// It retries nothing and runs nothing in parallel. A step that has more than one line to
// report emits events itself.
//
// A step that panics has failed. One that exceeds its limit has failed too (ErrLate) and
// is abandoned: it may still run. Durations are elapsed time.
package step

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"keelson/runtime/timeline"
)

// Failure is what a step's failure means for its list.
type Failure int

const (
	Continue Failure = iota // the list continues
	Fatal                   // the list ends
)

// Step is one thing to do.
type Step struct {
	Stage string // of its event
	Name  string // of its event; may be empty
	Do    func(context.Context) (result string, err error)
	On    Failure
	// Limit is how long the step may take, or 0. Then its context ends; a step that does
	// not return is abandoned.
	Limit time.Duration
	// Quiet steps have an event only when they fail.
	Quiet bool
}

// ErrLate is the error of a step that was abandoned.
var ErrLate = errors.New("not done in time")

// Sink takes events.
type Sink interface{ Event(timeline.Event) }

// Run does the steps in order and returns the error of the Fatal step that failed, if
// any. When ctx ends, the rest is not done.
func Run(ctx context.Context, sink Sink, log *slog.Logger, list []Step) error {
	for i, s := range list {
		if ctx.Err() != nil {
			return nil
		}
		log.Debug("step", "n", i+1, "of", len(list), "stage", s.Stage, "name", s.Name)
		began := timeline.Now()
		result, err := s.do(ctx, log)
		now := timeline.Now()
		if err != nil {
			result = "failed: " + err.Error()
		}
		if err != nil || !s.Quiet {
			sink.Event(timeline.Event{At: now, Stage: s.Stage, Name: s.Name, Result: result, Took: now - began})
		}
		if err != nil && s.On == Fatal {
			return err
		}
	}
	return nil
}

func (s Step) do(ctx context.Context, log *slog.Logger) (string, error) {
	if s.Limit <= 0 {
		return s.guarded(ctx, log)
	}
	ctx, cancel := context.WithTimeout(ctx, s.Limit)
	defer cancel()
	type outcome struct {
		result string
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := s.guarded(ctx, log)
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
	}
	// A step that watches the context gets a moment to return its result.
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case o := <-done:
		return o.result, o.err
	case <-grace.C:
		return "", fmt.Errorf("%w (%v)", ErrLate, s.Limit)
	}
}

func (s Step) guarded(ctx context.Context, log *slog.Logger) (result string, err error) {
	defer func() {
		if r := recover(); r != nil {
			log.Error("a step panicked", "stage", s.Stage, "name", s.Name, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return s.Do(ctx)
}
