package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
	"keelson/services/containerd"
)

// Times for calls to containerd that end by themselves.
const (
	callTime   = 10 * time.Second
	launchTime = 60 * time.Second
)

// run is one life of a service's container. Its goroutine reads these fields
// and never those of the service, which it only hands back.
type run struct {
	supervisor *Supervisor
	service    *service
	ctx        context.Context
	cancel     context.CancelFunc
	name, dir  string
	bundle     *bundle.Bundle
	streams    int // of all services together
	output     Output
	oom        oomCounter
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
	ctx, cancel := context.WithTimeout(r.ctx, launchTime)
	pid, fatal, err := r.start(ctx)
	cancel()
	if err != nil {
		r.closeOutput()
		s.send(func() { s.notStarted(r, err, fatal) })
		return
	}
	s.send(func() { s.hasStarted(r, pid) })
	r.follow()
}

// start is the list of what has to happen.
func (r *run) start(ctx context.Context) (pid int, fatal bool, err error) {
	s := r.supervisor
	if r.bundle == nil {
		if r.bundle, err = bundle.Load(r.dir); err != nil {
			return 0, true, err
		}
		b := r.bundle
		s.send(func() { r.service.bundle = b; s.writeStopDeadline() })
	}
	release, err := prepare.Prepare(r.bundle)
	if err != nil {
		return 0, false, err
	}
	s.send(func() { r.service.release = release })
	tasks, err := s.link.get(ctx)
	if err != nil {
		return 0, false, err
	}
	r.openOutput(false)
	if pid, err = r.create(ctx, tasks); err == nil {
		r.output.Created(ctx)
		r.oom = newOOMCounter(pid)
		if err = prepare.AfterCreate(r.bundle, pid); err == nil {
			err = tasks.Start(ctx, r.bundle.Namespace(), r.name)
		}
	}
	if err != nil {
		if ctx.Err() == nil && containerd.Unavailable(err) {
			s.link.lost(tasks)
		} else {
			r.remove(tasks)
		}
		return 0, false, err
	}
	return pid, false, nil
}

func (r *run) create(ctx context.Context, tasks Tasks) (int, error) {
	spec := *r.bundle.Spec
	root := *spec.Root
	root.Path = r.bundle.Rootfs()
	spec.Root = &root
	text, err := json.Marshal(&spec)
	if err != nil {
		return 0, fmt.Errorf("cannot encode %s: %w", filepath.Join(r.dir, bundle.ConfigFile), err)
	}
	return tasks.Create(ctx, containerd.Spec{
		ID: r.name, Namespace: r.bundle.Namespace(), JSON: text,
		Stdout: r.output.Stdout(), Stderr: r.output.Stderr(), Terminal: r.terminal(),
	})
}

// remove takes away a container that could not be started.
func (r *run) remove(tasks Tasks) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), callTime)
	defer cancel()
	if err := tasks.Delete(ctx, r.bundle.Namespace(), r.name); err != nil {
		r.supervisor.options.Logger.Error("container is left", "service", r.name, "error", err)
	}
}

// runs tells whether the container is alive, as far as can be known: it is
// not to be taken away for a mere error of communication.
func (r *run) runs(tasks Tasks) bool {
	ctx, cancel := context.WithTimeout(r.ctx, callTime)
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

// adopt follows a container that an earlier supervisor has started.
func (r *run) adopt() {
	r.openOutput(true)
	r.follow()
}

// follow waits for the end of the container, for as long as that takes and
// however often containerd goes away meanwhile.
func (r *run) follow() {
	defer r.closeOutput()
	s := r.supervisor
	for {
		tasks, err := s.link.get(r.ctx)
		if r.ctx.Err() != nil {
			return
		}
		if err != nil {
			s.options.Logger.Error("containerd is not usable", "service", r.name, "error", err)
			if !pause(r.ctx, time.Second) {
				return
			}
			continue
		}
		ended, err := tasks.Wait(r.ctx, r.bundle.Namespace(), r.name)
		switch {
		case r.ctx.Err() != nil:
			return
		case containerd.Unavailable(err):
			s.options.Logger.Warn("containerd went away, service is kept", "service", r.name)
			s.link.lost(tasks)
			continue
		case err != nil && r.runs(tasks):
			s.options.Logger.Error("service cannot be waited for", "service", r.name, "error", err)
			if !pause(r.ctx, time.Second) {
				return
			}
			continue
		}
		x := exit{at: s.options.Now(), code: ended.Code, oom: r.oom.grown(), unknown: err != nil}
		r.remove(tasks)
		r.closeOutput()
		s.send(func() { s.hasEnded(r, x) })
		return
	}
}
