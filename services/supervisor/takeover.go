package supervisor

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
	"keelson/runtime/timeline"
	"keelson/services/connection"
	"keelson/services/containerd"
	"keelson/services/events"
	"keelson/services/machine"
	"keelson/services/task"
)

// listTime is how long containerd may take to list its tasks.
const listTime = 10 * time.Second

// connect waits for containerd and takes over what it runs.
func (s *Supervisor) connect() {
	begin := s.options.Now()
	var found map[string]containerd.Task
	for {
		tasks, err := s.connection.Get(s.ctx)
		if err == nil {
			if found, err = s.findTasks(tasks); err == nil {
				break
			}
			if s.connection.Failed(s.ctx, tasks, err) {
				continue
			}
		}
		if s.ctx.Err() != nil {
			return
		}
		s.options.Logger.Error("cannot use containerd, trying again in a second", "error", err)
		if !backoff.Wait(s.ctx, time.Second) { // It listens and fails: no event says when that ends.
			return
		}
	}
	now := s.options.Now()
	s.send(func() {
		if s.connected {
			return // Services are being stopped without it.
		}
		s.connected = true
		s.options.Events(timeline.Event{At: now, Stage: timeline.Containerd, Result: "answers", Took: now - begin})
		s.takeOver(found)
	})
}

// findTasks lists the tasks of services, by ID.
func (s *Supervisor) findTasks(tasks connection.Tasks) (map[string]containerd.Task, error) {
	namespaces, err := s.namespaces()
	if err != nil {
		return nil, err
	}
	found := map[string]containerd.Task{}
	for namespace, names := range namespaces {
		ctx, cancel := context.WithTimeout(s.ctx, listTime)
		list, err := tasks.List(ctx, namespace)
		cancel()
		if err != nil {
			return nil, err
		}
		for _, t := range list {
			if slices.Contains(names, t.ID) || serviceOf(t.ID, names) != "" {
				found[t.ID] = t
			}
		}
	}
	return found, nil
}

// namespaces asks Serve's goroutine for the services by containerd's namespace.
func (s *Supervisor) namespaces() (map[string][]string, error) {
	answer := make(chan map[string][]string, 1)
	s.send(func() { answer <- s.services.byNamespace() })
	select {
	case all := <-answer:
		return all, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

// takeOver begins: containers that run are followed, what an earlier supervisor was doing
// is continued, and all other services are started, except those that were stopped or
// had ended for good.
func (s *Supervisor) takeOver(found map[string]containerd.Task) {
	s.reconciling = true // once, for all of them
	var undone []*service
	taken, begun := map[string]bool{}, []string{}
	if err := prepare.SweepImages(); err != nil {
		s.options.Logger.Error("cannot remove devices of an earlier supervisor", "error", err)
	}
	s.sweepOffers(found)
	for _, name := range s.services.names {
		svc := s.services.byName[name]
		old, known := s.store.read(name)
		if known {
			svc.restore(old)
		}
		id := cmp.Or(old.Instance, name)
		t, exists := found[id]
		taken[id] = true
		before := svc.bundle
		if svc.trial != nil && before != nil && svc.trial.Next.IsVersion() && before.Settings.Swap == bundle.SwapOverlap {
			begun = append(begun, instanceOf(name, svc.trial.Next))
		}
		undo, resume := s.resumeSwap(svc, old, t, exists)
		if undo {
			undone = append(undone, svc)
		}
		if resume {
			s.resume(svc, old, known, t, exists)
		}
		if before != nil && svc.task == nil && (known || before.Image != nil) { // Another version may take its place.
			if err := prepare.Release(before); err != nil {
				s.options.Logger.Error("cannot remove the mounts of a service", "service", name, "error", err)
			}
		}
	}
	s.reconciling = false
	s.undoSwaps(undone)
	s.removeRemoved()
	s.removeStrays(slices.Concat(slices.Collect(maps.Keys(found)), begun), taken)
	for _, name := range s.sockets.Services() {
		s.releaseSockets(name)
	}
	s.sockets.ForgetUnclaimed()
	s.reconcile()
	s.announce()
	for _, order := range s.delayed {
		order()
	}
	s.delayed = nil
	close(s.adopted)
}

// takeOverBlindly is for a shutdown without containerd: services that an earlier
// supervisor has saved, and a shim still has, are stopped.
func (s *Supervisor) takeOverBlindly() {
	if s.connected {
		return
	}
	s.options.Logger.Warn("containerd does not answer; stopping services without it")
	found := map[string]containerd.Task{}
	for _, name := range s.services.names {
		if old, _ := s.store.read(name); task.HasShim(old.Pid) {
			id := cmp.Or(old.Instance, name)
			found[id] = containerd.Task{ID: id, PID: old.Pid, Running: true}
		}
	}
	s.connected = true
	s.takeOver(found)
}

// mayRun reports whether services of an earlier supervisor may run that are not taken
// over yet.
func (s *Supervisor) mayRun() bool {
	if s.connected {
		return false
	}
	for _, name := range s.services.names {
		if old, known := s.store.read(name); known && old.Pid != 0 {
			return true
		}
	}
	return false
}

// resume continues the life of a service.
func (s *Supervisor) resume(svc *service, old saved, known bool, t containerd.Task, exists bool) {
	lives := old.State == machine.Activating || old.State == machine.Running || old.State == machine.Failing ||
		old.State == machine.Stopping || old.State == machine.Restarting
	switch {
	case exists && svc.bundle != nil && (t.Running || lives && old.Pid == t.PID):
		s.adopt(svc, old, t)
	case lives && old.Pid != 0 && old.State != machine.Stopping && old.State != machine.Restarting:
		// It has ended meanwhile, and containerd has forgotten it too.
		svc.state, svc.since, svc.pid = old.State, old.Entered, old.Pid
		s.hasEnded(svc, task.Exit{At: s.options.Now(), Unknown: true})
	case known && (old.State.Settled() || old.State == machine.Stopping):
		svc.state, svc.since = old.State, old.Entered
		if old.State == machine.Stopping {
			svc.state = machine.Stopped
			s.store.save(svc)
			s.recorder.resumed(svc, old.State)
		}
	case s.stopping:
		svc.state = machine.Stopped
		s.recorder.resumed(svc, old.State)
	case known && old.State == machine.Backoff:
		svc.state, svc.since = machine.Backoff, old.Entered
		s.do(svc, machine.ArmDelay)
	default:
		s.recorder.resumed(svc, old.State)
		s.apply(svc, machine.Start)
	}
}

// adopt takes over a container that runs.
func (s *Supervisor) adopt(svc *service, old saved, t containerd.Task) {
	svc.pid, svc.since = t.PID, old.Entered
	record := &old.Record
	if old.Pid != t.PID { // It was started, and the supervisor died before it saved that.
		svc.started, svc.launched, svc.since = s.options.Now(), s.options.Now(), s.options.Now()
		record = nil
	}
	// Everything is mounted; this finds out how to unmount it.
	unmount, err := prepare.Prepare(svc.bundle)
	if err != nil {
		s.options.Logger.Error("cannot take over the mounts of a service", "service", svc.name, "error", err)
	}
	svc.unmount = unmount
	placement := task.Placement{Path: svc.bundle.Cgroup(svc.name), Others: s.services.cgroupsOfOthers(svc)}
	s.attach(svc, placement, func(ctx context.Context, spec task.Spec) Task {
		return s.tasks.Adopt(ctx, spec, t.PID, record)
	})
	s.options.Logger.Info("service is taken over", "service", svc.name, "pid", t.PID)
	if missing := s.sockets.Missing(svc.name, svc.settings().Listen); len(missing) > 0 {
		s.options.Logger.Warn("the kept sockets of a service are lost: they are opened again at its next start, and connections are refused until then",
			"service", svc.name, "sockets", strings.Join(missing, " "))
		s.recorder.service(svc, events.Event{Kind: events.Sockets, Text: "lost, and opened again at the next start: " + strings.Join(missing, " ")})
	}
	switch old.State {
	case machine.Running:
		svc.state = machine.Running
		s.do(svc, machine.Watch)
	case machine.Failing, machine.Stopping, machine.Restarting:
		svc.state = old.State
		s.do(svc, machine.Signal)
	default: // It was being started, or became ready.
		svc.state = machine.Activating
		s.recorder.resumed(svc, old.State)
		s.do(svc, machine.Probe)
	}
	s.store.save(svc)
}
