package task

import (
	"context"
	"errors"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/runtime/keyring"
	"keelson/runtime/oomscore"
	"keelson/runtime/prepare"
	"keelson/runtime/seccomp"
	"keelson/services/connection"
	"keelson/services/containerd"
)

const (
	// StartTime is how long a start may take, without the wait for the limiter.
	StartTime = 60 * time.Second
	// callTime is how long other calls to containerd may take.
	callTime = 10 * time.Second
)

// launch makes the container, starts it and follows it to its end.
func (t *Task) launch() {
	pid, err := t.startLimited()
	t.abort()
	if err != nil {
		t.runner.Notify.ForgetNotify(t.spec.id(), t.pid)
		t.close()
		t.spec.Report(NotStarted{err})
		return
	}
	t.spec.Report(Started{pid})
	t.follow()
}

func (t *Task) startLimited() (pid int, err error) {
	release, err := t.runner.limiter.acquire(t.starting)
	if err != nil {
		return 0, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(t.starting, StartTime)
	defer cancel()
	return t.start(ctx)
}

// start prepares for the container, then makes and starts it. It tries again when
// containerd dies meanwhile, which is no failure of the service.
func (t *Task) start(ctx context.Context) (pid int, err error) {
	unmount, err := prepare.Prepare(t.spec.Bundle)
	if err != nil {
		return 0, err
	}
	t.spec.Report(Mounted{unmount})
	t.openOutput(false)
	for ; ; t.output.Again() {
		tasks, err := t.runner.Connection.Get(ctx)
		if err != nil {
			return 0, err
		}
		pid, err := t.startWith(ctx, tasks)
		switch {
		case err == nil:
			return pid, nil
		case ctx.Err() != nil:
			t.remove(tasks)
			return 0, err
		case !t.runner.Connection.Failed(t.ctx, tasks, err):
			t.remove(tasks)
			return 0, t.spec.explain(err)
		}
	}
}

// explain returns err, which the runtime failed with, together with the reason where
// that is the configuration. A bundle that was started before is not refused: the image
// has a runtime with other rules.
func (s Spec) explain(err error) error {
	if s.Proven {
		return err
	}
	return s.Bundle.Explain(err)
}

// startWith makes and starts the task. Making it is never given up half-way, since
// containerd would still be removing it while the next one is made: when ctx ends, the
// task is made and not started.
func (t *Task) startWith(ctx context.Context, tasks connection.Tasks) (pid int, err error) {
	making, cancel := context.WithTimeout(context.WithoutCancel(ctx), StartTime)
	defer cancel()
	t.runner.work.Go(func() { t.runner.Connection.CheckIfSlow(t.ctx, making, tasks) })
	if pid, err = t.create(making, tasks); err != nil {
		return 0, err
	}
	t.output.Created(making)
	if err = t.attach(pid); err != nil {
		return 0, err
	}
	if err = prepare.AfterCreate(t.spec.Bundle, pid); err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = tasks.Start(making, t.spec.Bundle.Namespace(), t.spec.id())
	}
	if err != nil {
		t.stopper.close()
	}
	return pid, err
}

// attach opens what is needed to follow a container that is created.
func (t *Task) attach(pid int) error {
	process, err := t.runner.Process(pid, t.spec.Placement)
	if err != nil {
		return err
	}
	t.stopper.open(process)
	t.pid = pid
	if err = t.spec.Placement.copyLimits(); err == nil {
		err = t.delegate()
	}
	if err != nil {
		t.stopper.close()
		return err
	}
	t.oom.close() // of an attempt before
	t.oom = newOOMCounter(t.spec.Placement, t.spec.Bundle.Settings.Delegate)
	t.pids.close()
	t.pids = newPidsWatch(t.spec.Bundle, t.spec.Placement, false)
	t.record.LogAt, t.record.Cgroup = t.logEnds(), t.spec.Placement.made()
	if err = t.listen(); err != nil {
		t.stopper.close()
	}
	return err
}

func (t *Task) create(ctx context.Context, tasks connection.Tasks) (int, error) {
	edit := bundle.Edit{OOMScoreAdj: ownScore(t.spec.Bundle.Spec.Process, oomscore.Inherited())}
	t.addNotifySocket(&edit)
	offer, err := t.offerSockets(&edit)
	if err != nil {
		return 0, err
	}
	defer offer.Close()
	edit.Without = t.unsupported()
	filter, err := seccomp.Filter(t.spec.Bundle)
	if err != nil {
		return 0, err
	}
	edit.Seccomp = filter
	edit.Delegate = t.spec.Bundle.Settings.Delegate
	if edit.Delegate {
		t.removeCgroups() // An interrupted attempt may have left some, with controllers enabled.
	}
	if t.spec.Placement.Outer || t.spec.ID != "" {
		edit.CgroupsPath = t.spec.Placement.made()
	}
	text, err := t.spec.Bundle.Edited(edit)
	if err != nil {
		return 0, err
	}
	spec := containerd.Spec{
		ID: t.spec.id(), Namespace: t.spec.Bundle.Namespace(), Service: t.spec.Name, JSON: text,
		Stdout: t.output.Stdout(), Stderr: t.output.Stderr(), Terminal: t.spec.terminal(),
		Owner: t.spec.Bundle.FirstID, // A program may open /dev/stdout by name.
	}
	pid, err := tasks.Create(ctx, spec)
	if errors.Is(err, containerd.ErrNoKeyring) {
		t.runner.warnOnce(keyring.Notice, keyring.Notice, t.spec.Name)
		spec.NoNewKeyring = true
		pid, err = tasks.Create(ctx, spec)
	}
	if taken := offer.Close(); err == nil && !taken {
		err = errSocketsIgnored
	}
	return pid, err
}

// unsupported returns the limits that the kernel has no controllers for. They are
// logged once, and the service runs without them.
func (t *Task) unsupported() []bundle.ResourceLimit {
	limits := prepare.Unsupported(t.spec.Bundle)
	for _, sentence := range bundle.WithoutController(limits) {
		t.runner.warnOnce(t.spec.Name+": "+sentence, sentence, t.spec.Name)
	}
	return limits
}

// ownScore is the oom_score_adj of a container whose bundle has none: it does not
// inherit the protection of its shim. nil means that nothing is to be changed.
func ownScore(p *specs.Process, inherited bool) *int {
	if p == nil || p.OOMScoreAdj != nil || !inherited {
		return nil
	}
	ordinary := oomscore.Ordinary
	return &ordinary
}

// remove removes task and container.
func (t *Task) remove(tasks connection.Tasks) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), callTime)
	defer cancel()
	if t.killOthers() {
		defer t.removeCgroups()
	}
	if err := tasks.Delete(ctx, t.spec.Bundle.Namespace(), t.spec.id()); err != nil {
		t.runner.Logger.Error("cannot remove the container of a service", "service", t.spec.Name, "error", err)
	}
}

// killOthers kills the processes of the container that are in other cgroups than its first
// one was: they may have outlived it. It reports whether there are such cgroups.
func (t *Task) killOthers() bool {
	if t.spec.Placement.Outer {
		t.Kill(t.others())
	}
	return t.spec.Placement.Outer
}
