package supervisor

import (
	"context"
	"log/slog"
	"time"
)

// startTime is how long containerd may take from its start until it listens. It
// is doubled each time that was not enough: a machine may be slow.
const startTime = 30 * time.Second

// link is the connection to containerd, made when it is needed and made anew
// after it was lost.
type link struct {
	dial   func(context.Context) (Tasks, error)
	kill   func() error // ends a containerd that does not listen
	logger *slog.Logger
	turn   chan struct{} // holds one: the right to touch what follows
	tasks  Tasks         // nil when there is none
	allow  time.Duration // how long it may take to listen
}

func newLink(o Options) *link {
	return &link{dial: o.Dial, kill: o.KillStarting, logger: o.Logger, turn: make(chan struct{}, 1), allow: startTime}
}

// get waits until containerd can be asked.
func (l *link) get(ctx context.Context) (Tasks, error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-l.turn }()
	for l.tasks == nil {
		tasks, err := l.reach(ctx)
		if err != nil {
			return nil, err
		}
		l.tasks = tasks
	}
	return l.tasks, nil
}

// reach waits for containerd to listen. One that takes too long is killed, and
// then there are neither tasks nor an error: PID 1 starts the next.
func (l *link) reach(ctx context.Context) (Tasks, error) {
	limited, cancel := context.WithTimeout(ctx, l.allow)
	defer cancel()
	tasks, err := l.dial(limited)
	if err == nil {
		l.allow = startTime
		return tasks, nil
	}
	if ctx.Err() != nil || limited.Err() == nil {
		return nil, err
	}
	l.logger.Error("containerd does not come to listen and is killed; services go on", "waited", l.allow)
	if err := l.kill(); err != nil {
		l.logger.Error("containerd cannot be killed", "error", err)
	}
	l.allow *= 2
	return nil, nil
}

// current is the connection there is, or nil; it never waits for containerd.
func (l *link) current() Tasks {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
		return l.tasks
	default: // one is being made
		return nil
	}
}

// lost says that tasks is of no use any more. Others may know already.
func (l *link) lost(tasks Tasks) {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.tasks == tasks && tasks != nil {
		_ = tasks.Close()
		l.tasks = nil
	}
}

func (l *link) close() {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.tasks != nil {
		_ = l.tasks.Close()
		l.tasks = nil
	}
}
