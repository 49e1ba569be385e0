package supervisor

import (
	"context"
)

// link is the connection to containerd, made when it is needed and made anew
// after it was lost.
type link struct {
	dial  func(context.Context) (Tasks, error)
	turn  chan struct{} // holds one: the right to touch tasks
	tasks Tasks         // nil when there is none
}

// get waits until containerd can be asked.
func (l *link) get(ctx context.Context) (Tasks, error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-l.turn }()
	if l.tasks != nil {
		return l.tasks, nil
	}
	tasks, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	l.tasks = tasks
	return tasks, nil
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
