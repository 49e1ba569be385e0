package task

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
	"keelson/services/probe"
)

// Probe reports Ready or NotReady.
func (t *Task) Probe() {
	settings, container := t.spec.Bundle.Settings, t.container()
	t.runner.work.Go(func() {
		err := t.runner.prober.Wait(t.ctx, settings.Ready, container, settings.ReadyTimeout)
		switch {
		case t.ctx.Err() != nil:
		case err != nil:
			t.spec.Report(NotReady{err})
		default:
			t.spec.Report(Ready{})
		}
	})
}

// Watch reports Unhealthy when the service is not healthy any more. Without health
// checks it does nothing.
func (t *Task) Watch() {
	settings, container := t.spec.Bundle.Settings, t.container()
	if settings.Health.Kind == "" && t.notify == nil {
		return
	}
	t.runner.work.Go(func() {
		err := t.runner.prober.Watch(t.ctx, settings.Health, container,
			settings.HealthInterval, settings.HealthTimeout, settings.HealthRetries)
		if t.ctx.Err() == nil {
			t.spec.Report(Unhealthy{err})
		}
	})
}

// container is what probes need.
func (t *Task) container() probe.Container {
	var lines []probe.Log
	for i, suffix := range logSuffix {
		lines = append(lines, probe.Log{Path: filepath.Join(t.runner.LogDir, t.spec.Name+suffix), Offset: t.record.LogAt[i]})
	}
	return probe.Container{
		PID: t.pid, Notify: t.notify, Lines: t.runner.prober.Follow(lines...),
		Exec: func(ctx context.Context, args []string) (int, string, error) {
			return t.runner.Exec(ctx, t.spec.Bundle.Namespace(), t.spec.id(), args)
		},
	}
}

// logEnds returns where the logs of the service end now.
func (t *Task) logEnds() (ends [2]int64) {
	for i, suffix := range logSuffix {
		if info, err := os.Stat(filepath.Join(t.runner.LogDir, t.spec.Name+suffix)); err == nil {
			ends[i] = info.Size()
		}
	}
	return ends
}

// addNotifySocket gives the service its socket for sd_notify(3), if it has one.
func (t *Task) addNotifySocket(e *bundle.Edit) {
	if !t.spec.notifies() {
		return
	}
	dir, mount := prepare.PrivateDir(t.spec.Bundle.Spec)
	if dir != "" {
		e.Mounts = append(e.Mounts, mount)
	}
	t.record.NotifyAt = probe.NotifySocket(t.spec.id(), dir)
	e.Env = append(e.Env, "NOTIFY_SOCKET="+t.record.NotifyAt)
}

// listen receives the notifications of the service from now on, and those that were sent
// since an earlier supervisor died.
func (t *Task) listen() error {
	if !t.spec.notifies() {
		return nil
	}
	if t.notify != nil { // of an attempt before
		_ = t.notify.Close()
	}
	n, err := t.openNotify()
	if err != nil {
		return err
	}
	t.notify = n
	n.Report = func(text string) { t.spec.Report(Reported{text}) }
	t.runner.work.Go(func() {
		err := n.Serve(t.ctx, func(state probe.State) {
			t.checkKept(t.runner.Notify.KeepNotifyState(t.spec.id(), t.pid, state))
			t.spec.Report(StatusChanged{})
		})
		if err != nil {
			t.runner.Logger.Error("cannot receive notifications of a service", "service", t.spec.Name, "error", err)
		}
	})
	return nil
}

// openNotify returns the socket that an earlier supervisor has kept. If there is none, it binds
// one, which is kept for the next supervisor.
func (t *Task) openNotify() (*probe.Notify, error) {
	var state probe.State
	kept, err := t.runner.Notify.Notify(t.spec.id(), t.pid, &state)
	t.checkKept(err)
	if kept != nil {
		n, err := probe.Resume(kept, state, t.record.NotifyAt, t.pid, t.spec.Placement.Path, t.others())
		if err != nil {
			_ = kept.Close()
		}
		return n, err
	}
	n, err := probe.Listen(t.record.NotifyAt, t.pid, t.spec.Placement.Path, t.others())
	if err == nil {
		t.checkKept(t.runner.Notify.KeepNotify(t.spec.id(), t.pid, n.Socket(), n.State()))
	}
	return n, err
}

// checkKept logs an error of keeping notifications, with which the service runs all the same.
func (t *Task) checkKept(err error) {
	if err != nil {
		t.runner.Logger.Error("notifications of a service are lost when the supervisor dies", "service", t.spec.Name, "error", err)
	}
}

// Status returns what the service has said about itself by sd_notify(3).
func (t *Task) Status() string {
	if t.notify == nil {
		return ""
	}
	state := t.notify.State()
	switch {
	case state.Stopping:
		return strings.TrimSuffix("stopping: "+state.Status, ": ")
	case state.Reloading:
		return strings.TrimSuffix("reloading: "+state.Status, ": ")
	}
	return state.Status
}
