package supervisor

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/runtime/keyring"
	"keelson/runtime/oomscore"
	"keelson/runtime/prepare"
	"keelson/services/connection"
	"keelson/services/containerd"
	"keelson/services/probe"
)

// Times for calls to containerd that end by themselves.
const (
	callTime   = 10 * time.Second
	launchTime = 60 * time.Second
	// hangTime is how long containerd may take to tell of the end of a process
	// that has ended.
	hangTime = 5 * time.Second
	// downTime is that on the way down.
	downTime = 2 * time.Second
)

// run is one life of a service's container. Its goroutine reads these fields
// and never those of the service, which it only hands back.
type run struct {
	supervisor *Supervisor
	service    *service
	ctx        context.Context
	cancel     context.CancelFunc
	starting   context.Context // ends when the start is given up
	abort      context.CancelFunc
	name, dir  string
	bundle     *bundle.Bundle
	proven     bool     // the bundle has been started before
	streams    int      // of all services together
	others     []string // paths of the cgroups of the other services
	nests      bool     // some of them lie in its own: its processes are in bundle.OwnCgroup
	at         string   // path of the cgroup it was found in: its bundle may have changed
	output     Output
	oom        oomCounter
	pids       *pidsWatch    // nil: nothing to watch
	process    Process       // set before hasStarted, or adopt
	notify     *probe.Notify // nil: not by that
	notifyAt   string        // its NOTIFY_SOCKET
	logAt      [2]int64      // where its output begins in its logs
}

// openOutput readies the places for what the container prints, or has printed.
func (r *run) openOutput(adopted bool) {
	r.output = r.supervisor.options.Output(OutputOf{
		Service: r.name, Settings: r.bundle.Settings, Adopted: adopted, Streams: r.streams, Terminal: r.terminal(),
	})
}

func (r *run) terminal() bool { return r.bundle.Spec.Process != nil && r.bundle.Spec.Process.Terminal }

// closeOutput must come before the end is told: who hears of it may look into
// the log.
func (r *run) closeOutput() {
	if r.output != nil {
		r.output.Close()
	}
}

// launch makes the container, starts it and follows it to its end.
func (r *run) launch() {
	s := r.supervisor
	pid, err := r.startInTurn()
	r.abort()
	if err != nil {
		r.close()
		s.send(func() { s.notStarted(r, err) })
		return
	}
	s.send(func() { s.hasStarted(r, pid) })
	r.follow()
}

// close lets go of what the run holds.
func (r *run) close() {
	r.closeOutput()
	if r.notify != nil {
		_ = r.notify.Close()
	}
	if r.process != nil {
		r.process.Close()
	}
	r.pids.close()
}

func (r *run) startInTurn() (pid int, err error) {
	leave, err := r.supervisor.turns.take(r.starting)
	if err != nil {
		return 0, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.starting, launchTime)
	defer cancel()
	return r.start(ctx)
}

// start is the list of what has to happen.
func (r *run) start(ctx context.Context) (pid int, err error) {
	s := r.supervisor
	release, err := prepare.Prepare(r.bundle)
	if err != nil {
		return 0, err
	}
	s.send(func() { r.service.release = release })
	r.openOutput(false)
	for ; ; r.output.Again() { // containerd that dies meanwhile is no fault of the service's
		tasks, err := s.connection.Get(ctx)
		if err != nil {
			return 0, err
		}
		pid, err := r.startWith(ctx, tasks)
		switch {
		case err == nil:
			return pid, nil
		case ctx.Err() != nil:
			r.remove(tasks)
			return 0, err
		case !s.connection.Failed(s.ctx, tasks, err):
			r.remove(tasks)
			return 0, r.explain(err)
		}
	}
}

// startWith makes and starts the task. A task that is being made is never
// given up half-way, since containerd would still be taking it apart when the
// next is made: when ctx ends, it is not started.
func (r *run) startWith(ctx context.Context, tasks connection.Tasks) (pid int, err error) {
	making, cancel := context.WithTimeout(context.WithoutCancel(ctx), launchTime)
	defer cancel()
	r.supervisor.work.Go(func() { r.supervisor.connection.CheckIfSlow(r.supervisor.ctx, making, tasks) })
	if pid, err = r.create(making, tasks); err != nil {
		return 0, err
	}
	r.output.Created(making)
	r.oom = newOOMCounter(pid, r.others)
	if r.process, err = r.supervisor.options.Process(pid); err != nil {
		return 0, err
	}
	r.pids.close() // of a try before
	r.pids = newPidsWatch(r.bundle, pid, false)
	r.logAt = r.supervisor.logEnds(r.name)
	if err = r.copyLimits(); err == nil {
		err = r.listen(pid)
	}
	if err == nil {
		err = prepare.AfterCreate(r.bundle, pid)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = tasks.Start(making, r.bundle.Namespace(), r.name)
	}
	if err != nil {
		r.process.Close()
		r.process = nil
	}
	return pid, err
}

func (r *run) create(ctx context.Context, tasks connection.Tasks) (int, error) {
	edit := bundle.Edit{OOMScoreAdj: ownScore(r.bundle.Spec.Process, oomscore.Inherited())}
	r.addNotifySocket(&edit)
	edit.Without = r.unsupported()
	if r.nests {
		edit.CgroupsPath = filepath.Join(r.bundle.Cgroup(r.name), bundle.OwnCgroup)
	}
	text, err := r.bundle.Edited(edit)
	if err != nil {
		return 0, err
	}
	spec := containerd.Spec{
		ID: r.name, Namespace: r.bundle.Namespace(), JSON: text,
		Stdout: r.output.Stdout(), Stderr: r.output.Stderr(), Terminal: r.terminal(),
	}
	pid, err := tasks.Create(ctx, spec)
	if errors.Is(err, containerd.ErrNoKeyring) {
		r.supervisor.sayNoKeyring.Do(func() { r.supervisor.options.Logger.Warn(keyring.Notice, "service", r.name) })
		spec.NoNewKeyring = true
		pid, err = tasks.Create(ctx, spec)
	}
	return pid, err
}

// ownScore is the oom_score_adj of a container whose bundle has none: it does not
// inherit the protection of its shim. nil: nothing is to be changed.
func ownScore(p *specs.Process, inherited bool) *int {
	if p == nil || p.OOMScoreAdj != nil || !inherited {
		return nil
	}
	ordinary := oomscore.Ordinary
	return &ordinary
}

// remove takes away a container that could not be started.
func (r *run) remove(tasks connection.Tasks) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), callTime)
	defer cancel()
	if err := tasks.Delete(ctx, r.bundle.Namespace(), r.name); err != nil {
		r.supervisor.options.Logger.Error("container is left", "service", r.name, "error", err)
	}
	if r.nests {
		r.empty()
	}
}

// hold takes hold of a container that an earlier supervisor has started.
func (r *run) hold(pid int, old saved) {
	s := r.supervisor
	r.abort()
	place := cgroupOf(pid)
	r.nests, r.at = place.own, place.path
	r.oom = newOOMCounter(pid, r.others)
	r.pids = newPidsWatch(r.bundle, pid, true)
	if old.Pid == pid {
		r.logAt, r.notifyAt = old.LogAt, old.NotifyAt
	} else {
		r.notifyAt = probe.NotifySocketOf(pid)
	}
	var err error
	if r.process, err = s.options.Process(pid); err != nil {
		r.process = nil // It has ended, and containerd tells how.
		return
	}
	if err := r.listen(pid); err != nil {
		s.options.Logger.Error("service is not heard any more", "service", r.name, "error", err)
	}
}

// adopt follows a container that an earlier supervisor has started.
func (r *run) adopt() {
	r.openOutput(true)
	r.follow()
}
