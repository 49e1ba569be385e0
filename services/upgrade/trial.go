package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/paths"
	"keelson/runtime/programs"
	"keelson/services/versions"
)

// judgeTime is how long the checks of a trial may take, from the start of this supervisor.
const judgeTime = 40 * time.Second

// interrupted is the reason of an upgrade that failed through no fault of the new programs.
const interrupted = "it was interrupted"

// Resume continues an upgrade that another supervisor has begun. It returns when it is known
// what is to be done.
func (u *Upgrade) Resume() {
	if !u.everSwapped() {
		return
	}
	t, onTrial, err := programs.ReadTrial(u.State)
	if err != nil {
		u.Logger.Error("cannot continue the trial of programs", "error", err)
		u.giveUp(err)
		return
	}
	state, err := u.store.Recover(Name)
	if err != nil {
		u.Logger.Error("cannot read the versions of programs", "error", err)
		if onTrial {
			u.giveUp(err)
		}
		return
	}
	outcome, ended, _ := programs.ReadOutcome(u.State)
	found := found{onTrial: onTrial, recorded: state.Trial != nil, current: onTrial && t.Target == string(state.Current)}
	if state.Trial != nil {
		found.restored = ended && !outcome.Committed && outcome.Target == string(state.Trial.Next)
	}
	u.do(plan(found), t, state, outcome)
}

func (u *Upgrade) do(step step, t programs.Trial, state versions.State, outcome programs.Outcome) {
	switch step {
	case judge:
		u.busy.Store(true)
		u.host.Go(func(ctx context.Context) { u.judge(ctx, t) })
	case finish:
		u.finish(t)
	case remove:
		u.finish(programs.Trial{})
	case reject, abandon:
		reason := interrupted
		if step == reject {
			reason = outcome.Reason
		}
		u.event("restored", state.Trial.Next, fmt.Sprintf("swap to %s failed: %s; %s is restored", state.Trial.Next, reason, state.Current), 0)
		if reason == interrupted {
			reason = "" // The version may be tried again.
		}
		u.busy.Store(true)
		u.host.Go(func(ctx context.Context) { u.abort(ctx, reason) })
	case nothing:
	}
}

// abort gives up an upgrade, and removes what its trial may have left. A version with a reason
// is refused in future.
func (u *Upgrade) abort(ctx context.Context, reason string) {
	err := u.host.Persist(func() error {
		return errors.Join(u.store.Abort(Name, reason), u.store.Clean(Name))
	})
	if err != nil {
		u.Logger.Error("cannot record the end of a swap of programs", "error", err)
	}
	u.busy.Store(false)
	if err := u.host.DeleteContainer(canaryName, canaryNamespace); err != nil && ctx.Err() == nil {
		u.Logger.Warn("cannot remove the container of a trial", "error", err)
	}
}

// judge checks the programs on trial, and commits them.
func (u *Upgrade) judge(ctx context.Context, t programs.Trial) {
	begun, target := u.Now(), versions.Target(t.Target)
	limited, cancel := context.WithTimeout(ctx, judgeTime)
	daemon, err := u.checkTrial(limited, t)
	if err != nil && limited.Err() != nil {
		err = fmt.Errorf("not ready within %v: %w", judgeTime, err)
	}
	cancel()
	if err == nil {
		u.event("probation", target, fmt.Sprintf("%s passes; probation of %v", target, t.Probation), u.Now()-begun)
		if !backoff.Wait(ctx, t.Probation) {
			return
		}
		err = u.checkDaemon(daemon)
	}
	if err == nil {
		err = u.host.Persist(func() error { return u.store.Commit(Name) })
	}
	if err != nil {
		if ctx.Err() == nil {
			u.giveUp(err)
		}
		return
	}
	u.finish(t)
	u.event("committed", target, fmt.Sprintf("swap to %s committed", target), u.Now()-begun)
	if err := u.host.Persist(func() error { return u.store.Clean(Name) }); err != nil {
		u.Logger.Warn("old versions use space", "error", err)
	}
	u.busy.Store(false)
}

// finish records that a trial was committed, unless it is empty.
func (u *Upgrade) finish(t programs.Trial) {
	err := programs.EndTrial(u.State, programs.Outcome{Target: t.Target, Old: t.Old, Committed: t.Target != ""})
	if err != nil { // PID 1 ends it.
		u.Logger.Error("cannot record the end of a trial", "error", err)
	}
}

// giveUp ends this supervisor, so that PID 1 puts the programs before into use again.
func (u *Upgrade) giveUp(reason error) {
	if err := programs.WriteReason(u.State, strings.ReplaceAll(reason.Error(), "\n", "; ")); err != nil {
		u.Logger.Error("cannot record why programs fail", "error", err)
	}
	u.Logger.Error("keelson's programs on trial fail; the supervisor ends, for PID 1 to restore those before", "error", reason)
	u.host.End(reason)
}

// checkTrial checks that all new programs work. It returns the process of containerd, or 0
// if there are no services.
func (u *Upgrade) checkTrial(ctx context.Context, t programs.Trial) (daemon int, err error) {
	if used := programs.ReadUsed(u.State); used != t.Target {
		return 0, errors.New(interrupted) // The supervisor before ended first.
	}
	if err := u.SameProgram("self", paths.Service); err != nil {
		return 0, err
	}
	if needed, err := u.host.Adopted(ctx); err != nil || !needed {
		return 0, err
	}
	if daemon, err = u.Daemon(); err == nil {
		err = u.SameProgram(fmt.Sprint(daemon), paths.Containerd)
	}
	if err == nil {
		err = u.host.StillRun(t.Services)
	}
	if err == nil {
		err = u.canary(ctx)
	}
	return daemon, err
}

// checkDaemon returns an error if containerd has been started again since.
func (u *Upgrade) checkDaemon(before int) error {
	if before == 0 {
		return nil
	}
	now, err := u.Daemon()
	if err == nil && now != before {
		err = fmt.Errorf("containerd ended in the probation: it was process %d, and is %d", before, now)
	}
	return err
}

// sameProgram returns an error unless a process, "self" or a number, executes the program at
// path.
func sameProgram(process, path string) error {
	running, err := os.Stat("/proc/" + process + "/exe")
	if err != nil {
		return fmt.Errorf("cannot find out which program a process executes: %w", err)
	}
	installed, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(running, installed) {
		return fmt.Errorf("process %s executes another program than %s", process, path)
	}
	return nil
}
