package task

import (
	"context"
	"time"

	"keelson/runtime/backoff"
	"keelson/services/connection"
	"keelson/services/containerd"
)

const (
	// reportTime is how long containerd may take to report the end of a process that has
	// ended.
	reportTime = 5 * time.Second
	// downTime is how long at shutdown.
	downTime = 2 * time.Second
	// goneTime is how long a process may seem to live after its end was reported.
	goneTime = 100 * time.Millisecond
)

// follow waits for the end of the container, however long that takes and however often
// containerd dies meanwhile, and reports it.
func (t *Task) follow() {
	defer t.close()
	t.watchPids()
	t.watchOOM()
	ended, reported := t.await()
	if t.ctx.Err() != nil {
		return
	}
	exit := Exit{At: t.runner.Now(), Code: ended.Code, OOM: t.oom.grown(), Unknown: !reported || ended.Code == unknownCode}
	t.reportOOM()
	t.endAll()
	t.runner.Notify.ForgetNotify(t.spec.id(), t.pid)
	// A containerd that reports nothing would not answer; the next start removes.
	switch tasks := t.runner.Connection.Current(); {
	case tasks == nil || !reported:
	case t.endsWithMachine():
		t.killOthers()
	default:
		t.remove(tasks)
	}
	t.closeOutput()
	t.cancel()
	t.stopper.close()
	t.spec.Report(Ended{exit})
}

// endsWithMachine reports whether nothing needs the removal of the container any more: its
// processes have ended, containerd, the shim and the runtime have all their state in memory
// or remove it before they make a container of the same name, and the machine ends. What the
// runtime does besides, at a removal, are poststop hooks (OCI runtime-spec, config.md,
// "Poststop").
func (t *Task) endsWithMachine() bool {
	select {
	case <-t.runner.Down:
	default:
		return false
	}
	hooks := t.spec.Bundle.Spec.Hooks
	return t.runner.Machine && (hooks == nil || len(hooks.Poststop) == 0)
}

// await returns when containerd reports the end, or when the process has ended and
// nothing makes containerd report that. At shutdown it gives up early.
func (t *Task) await() (ended containerd.Exit, reported bool) {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	answer := make(chan containerd.Exit, 1)
	t.runner.work.Go(func() { t.wait(ctx, answer) })
	var gone <-chan struct{}
	if t.process != nil {
		gone = t.process.Gone()
	}
	remedies := []func(){t.checkContainerd, t.killShim}
	patience, down := reportTime, t.runner.Down
	var late <-chan time.Time
	for {
		select {
		case ended = <-answer:
			return ended, true
		case <-t.ctx.Done():
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
			case t.runner.Connection.Current() != nil: // Else it is being started again, and reports then.
				remedies[0]()
				remedies = remedies[1:]
			}
			late = time.After(patience)
		}
	}
}

// unknownCode is the exit code of a container whose end was not seen.
const unknownCode = -1

// wait asks containerd for the end until it knows. The same error, which may last for
// as long as the service runs, is logged once.
func (t *Task) wait(ctx context.Context, answer chan<- containerd.Exit) {
	logged := ""
	for {
		tasks, err := t.runner.Connection.Get(ctx)
		if err == nil {
			var ended containerd.Exit
			ended, err = tasks.Wait(ctx, t.spec.Bundle.Namespace(), t.spec.id())
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				answer <- ended
				return
			case containerd.Unavailable(err):
				t.runner.Logger.Warn("lost the connection to containerd; the service keeps running", "service", t.spec.Name)
				t.runner.Connection.Lost(tasks)
				continue
			case !t.spec.runs(ctx, tasks):
				answer <- containerd.Exit{Code: unknownCode}
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != logged {
			logged = text
			t.runner.Logger.Error("cannot wait for the end of a service, trying again every second", "service", t.spec.Name, "error", err)
		}
		if !backoff.Wait(ctx, time.Second) {
			return
		}
	}
}

// runs reports whether the container runs. It is true when that is not known: a
// container is not removed because of an error of communication.
func (s Spec) runs(ctx context.Context, tasks connection.Tasks) bool {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	list, err := tasks.List(ctx, s.Bundle.Namespace())
	if err != nil {
		return true
	}
	for _, task := range list {
		if task.ID == s.id() {
			return task.Running
		}
	}
	return false
}

func (t *Task) checkContainerd() {
	t.runner.Logger.Warn("containerd has not reported the end of a service; checking containerd", "service", t.spec.Name, "after", reportTime)
	if tasks := t.runner.Connection.Current(); tasks != nil {
		t.runner.Connection.Check(t.ctx, tasks)
	}
}

func (t *Task) killShim() {
	t.runner.Logger.Error("the shim has not reported the end of a service and is killed", "service", t.spec.Name)
	if err := t.process.KillShim(); err != nil {
		t.runner.Logger.Error("cannot kill the shim of a service", "service", t.spec.Name, "error", err)
	}
}

// endAll kills what is left of the container: a shim that was killed leaves it
// running.
func (t *Task) endAll() {
	if t.process == nil || t.isGone(goneTime) {
		return
	}
	t.runner.Logger.Warn("killing the remaining processes of a service", "service", t.spec.Name)
	t.Kill(t.others())
	if !t.isGone(reportTime) {
		t.runner.Logger.Error("the first process of a service does not end after SIGKILL", "service", t.spec.Name)
	}
}

// isGone reports whether the first process has ended, or the task is given up, within d.
func (t *Task) isGone(d time.Duration) bool {
	select {
	case <-t.process.Gone():
	case <-t.ctx.Done():
	case <-time.After(d):
		return false
	}
	return true
}
