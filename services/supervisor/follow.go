package supervisor

import (
	"context"
	"time"

	"keelson/runtime/backoff"
	"keelson/services/connection"
	"keelson/services/containerd"
)

// follow waits for the end of the container, for as long as that takes and
// however often containerd goes away meanwhile.
func (r *run) follow() {
	defer r.close()
	s := r.supervisor
	r.watchPids()
	ended, told := r.await()
	if r.ctx.Err() != nil {
		return
	}
	known := told && ended.Code != unknownCode
	x := exit{at: s.options.Now(), code: ended.Code, oom: r.oom.grown(), unknown: !known}
	r.endAll()
	if tasks := s.connection.Current(); tasks != nil && told { // Else it would not answer; the next start removes.
		r.remove(tasks)
	}
	r.closeOutput()
	s.send(func() { s.hasEnded(r, x) })
}

// await returns when containerd tells of the end, or when the process has
// ended and all that can be done has not made containerd tell. On the way down
// nothing is mended any more.
func (r *run) await() (ended containerd.Exit, told bool) {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	s := r.supervisor
	answer := make(chan containerd.Exit, 1)
	s.work.Go(func() { r.ask(ctx, answer) })
	var gone <-chan struct{}
	if r.process != nil {
		gone = r.process.Gone()
	}
	remedies := []func(){r.doubtContainerd, r.doubtShim}
	patience, down := hangTime, s.down
	var late <-chan time.Time
	for {
		select {
		case ended = <-answer:
			return ended, true
		case <-r.ctx.Done():
			return ended, false
		case <-gone:
			gone, late = nil, time.After(patience)
		case <-down:
			down, patience, remedies = nil, downTime, nil
			if late != nil {
				late = time.After(patience)
			}
		case <-late:
			switch {
			case len(remedies) == 0:
				return ended, false
			case s.connection.Current() != nil: // Else it is being started again, and tells then.
				remedies[0]()
				remedies = remedies[1:]
			}
			late = time.After(patience)
		}
	}
}

// unknownCode stands for an end that nobody saw.
const unknownCode = -1

// ask waits until containerd reports the end. An error is logged when it is not
// the one before: it may last for as long as the service runs.
func (r *run) ask(ctx context.Context, told chan<- containerd.Exit) {
	s := r.supervisor
	logged := ""
	for {
		tasks, err := s.connection.Get(ctx)
		if err == nil {
			var ended containerd.Exit
			ended, err = tasks.Wait(ctx, r.bundle.Namespace(), r.name)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				told <- ended
				return
			case containerd.Unavailable(err):
				s.options.Logger.Warn("containerd went away, service is kept", "service", r.name)
				s.connection.Lost(tasks)
				continue
			case !r.runs(ctx, tasks):
				told <- containerd.Exit{Code: unknownCode}
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != logged {
			logged = text
			s.options.Logger.Error("cannot wait for the end of a service, trying again every second", "service", r.name, "error", err)
		}
		if !backoff.Wait(ctx, time.Second) {
			return
		}
	}
}

// runs tells whether the container is alive, as far as can be known: it is
// not to be taken away for a mere error of communication.
func (r *run) runs(ctx context.Context, tasks connection.Tasks) bool {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	list, err := tasks.List(ctx, r.bundle.Namespace())
	if err != nil {
		return true
	}
	for _, task := range list {
		if task.ID == r.name {
			return task.Running
		}
	}
	return false
}

func (r *run) doubtContainerd() {
	s := r.supervisor
	s.options.Logger.Warn("containerd has not told that the process of a service ended", "service", r.name, "for", hangTime)
	if tasks := s.connection.Current(); tasks != nil {
		s.connection.Check(s.ctx, tasks)
	}
}

func (r *run) doubtShim() {
	r.supervisor.options.Logger.Error("shim has not told that the process of a service ended, and is killed", "service", r.name)
	if err := r.process.KillShim(); err != nil {
		r.supervisor.options.Logger.Error("shim cannot be killed", "service", r.name, "error", err)
	}
}

// endAll makes sure that nothing of the container lives on: a shim that was
// killed leaves its container behind.
func (r *run) endAll() {
	if r.process == nil {
		return
	}
	select {
	case <-r.process.Gone():
		return
	case <-r.ctx.Done():
		return
	case <-time.After(goneTime): // The notice of its end may be on its way.
	}
	r.supervisor.options.Logger.Warn("what is left of a service is killed", "service", r.name)
	if err := r.process.KillAll(r.others); err != nil {
		r.supervisor.options.Logger.Error("service cannot be killed", "service", r.name, "error", err)
	}
	select {
	case <-r.process.Gone():
	case <-r.ctx.Done():
	case <-time.After(hangTime):
		r.supervisor.options.Logger.Error("a process of a service does not end", "service", r.name)
	}
}

// goneTime is how long a process may seem to live after its end was told.
const goneTime = 100 * time.Millisecond
