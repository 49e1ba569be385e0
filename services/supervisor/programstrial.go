package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/paths"
	"keelson/runtime/programs"
	"keelson/runtime/timeline"
	"keelson/services/events"
	"keelson/services/machine"
	"keelson/services/versions"
)

// judgeTime is how long the checks of a trial may take, from the start of this supervisor.
const judgeTime = 40 * time.Second

// resumePrograms continues a swap of keelson's own programs that another supervisor has
// begun.
func (s *Supervisor) resumePrograms() {
	if _, err := os.Lstat(s.options.Programs); errors.Is(err, fs.ErrNotExist) {
		return // They were never swapped.
	}
	t, onTrial, err := programs.ReadTrial(s.programsState())
	if err != nil {
		s.options.Logger.Error("cannot continue the trial of programs", "error", err)
		s.giveUp(err)
		return
	}
	state, err := s.programs.Recover(programsName)
	if err != nil {
		s.options.Logger.Error("cannot read the versions of programs", "error", err)
		if onTrial {
			s.giveUp(err)
		}
		return
	}
	outcome, ended, _ := programs.ReadOutcome(s.programsState())
	found := programsFound{onTrial: onTrial, recorded: state.Trial != nil, current: onTrial && t.Target == string(state.Current)}
	if state.Trial != nil {
		found.restored = ended && !outcome.Committed && outcome.Target == string(state.Trial.Next)
	}
	s.doPrograms(planPrograms(found), t, state, outcome)
}

func (s *Supervisor) doPrograms(step programsStep, t programs.Trial, state versions.State, outcome programs.Outcome) {
	switch step {
	case programsJudge:
		s.programsBusy = true
		s.work.Go(func() { s.judge(t) })
	case programsFinish:
		s.finishTrial(t)
	case programsRemove:
		s.finishTrial(programs.Trial{})
	case programsReject, programsAbandon:
		reason := interruptedReason
		if step == programsReject {
			reason = outcome.Reason
		}
		if reason == interruptedReason { // That is no fault of the version.
			step = programsAbandon
		}
		s.programsEvent("restored", state.Trial.Next, fmt.Sprintf("swap to %s failed: %s; %s is restored", state.Trial.Next, reason, state.Current), 0)
		s.programsBusy = true
		s.work.Go(func() { s.abortPrograms(step, reason) })
	case programsNothing:
	}
}

// abortPrograms gives up a swap, and removes what its trial may have left.
func (s *Supervisor) abortPrograms(step programsStep, reason string) {
	if step != programsReject {
		reason = ""
	}
	err := s.persist(programsName, func() error {
		return errors.Join(s.programs.Abort(programsName, reason), s.programs.Clean(programsName))
	})
	if err != nil {
		s.options.Logger.Error("cannot record the end of a swap of programs", "error", err)
	}
	s.send(func() { s.programsBusy = false })
	if err := s.deleteContainer(canaryName, canaryNamespace); err != nil && s.ctx.Err() == nil {
		s.options.Logger.Warn("cannot remove the container of a trial", "error", err)
	}
}

// judge checks the programs on trial, and commits them.
func (s *Supervisor) judge(t programs.Trial) {
	begun := s.options.Now()
	ctx, cancel := context.WithTimeout(s.ctx, judgeTime)
	daemon, err := s.checkTrial(ctx, t)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("not ready within %v: %w", judgeTime, err)
	}
	cancel()
	if err == nil {
		s.programsEvent("probation", versions.Target(t.Target), fmt.Sprintf("%s passes; probation of %v", versions.Target(t.Target), t.Probation), s.options.Now()-begun)
		if !backoff.Wait(s.ctx, t.Probation) {
			return
		}
		err = s.checkDaemon(daemon)
	}
	if err == nil {
		err = s.persist(programsName, func() error { return s.programs.Commit(programsName) })
	}
	if err != nil {
		s.giveUp(err)
		return
	}
	s.finishTrial(t)
	s.programsEvent("committed", versions.Target(t.Target), fmt.Sprintf("swap to %s committed", versions.Target(t.Target)), s.options.Now()-begun)
	if err := s.persist(programsName, func() error { return s.programs.Clean(programsName) }); err != nil {
		s.options.Logger.Warn("old versions use space", "error", err)
	}
	s.send(func() { s.programsBusy = false })
}

// finishTrial records that a trial was committed, unless it is empty.
func (s *Supervisor) finishTrial(t programs.Trial) {
	err := programs.EndTrial(s.programsState(), programs.Outcome{Target: t.Target, Old: t.Old, Committed: t.Target != ""})
	if err != nil { // PID 1 ends it.
		s.options.Logger.Error("cannot record the end of a trial", "error", err)
	}
}

// giveUp ends this supervisor, so that PID 1 puts the programs before into use again; but not
// during a shutdown, in which it stops the services.
func (s *Supervisor) giveUp(reason error) {
	if s.ctx.Err() != nil {
		return
	}
	if err := programs.WriteReason(s.programsState(), strings.ReplaceAll(reason.Error(), "\n", "; ")); err != nil {
		s.options.Logger.Error("cannot record why programs fail", "error", err)
	}
	s.options.Logger.Error("keelson's programs on trial fail; the supervisor ends, for PID 1 to restore those before", "error", reason)
	s.work.Go(func() {
		s.send(func() {
			if !s.stopping {
				s.end(reason)
			}
		})
	})
}

// checkTrial checks that all new programs work. It returns the process of containerd, or 0
// if there are no services.
func (s *Supervisor) checkTrial(ctx context.Context, t programs.Trial) (daemon int, err error) {
	if used := programs.ReadUsed(s.programsState()); used != t.Target {
		return 0, errors.New(interruptedReason) // The supervisor before ended first.
	}
	if err := s.options.SameProgram("self", paths.Service); err != nil {
		return 0, err
	}
	if !s.needed() {
		return 0, nil
	}
	select {
	case <-s.adopted:
	case <-ctx.Done():
		return 0, errors.New("containerd does not answer")
	}
	if daemon, err = s.options.Daemon(); err == nil {
		err = s.options.SameProgram(fmt.Sprint(daemon), paths.Containerd)
	}
	if err == nil {
		err = s.askServe(func() error { return s.stillRun(t.Services) })
	}
	if err == nil {
		err = s.canary(ctx)
	}
	return daemon, err
}

// needed reports whether there are services, and so a containerd.
func (s *Supervisor) needed() bool {
	needed := false
	err := s.askServe(func() error { needed = s.connecting; return nil })
	return needed || err != nil
}

// askServe is ask for goroutines that Serve waits for.
func (s *Supervisor) askServe(f func() error) error {
	answer := make(chan error, 1)
	s.send(func() { answer <- f() })
	select {
	case err := <-answer:
		return err
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// programsEvent reports an event of keelson's own programs.
func (s *Supervisor) programsEvent(to string, next versions.Target, result string, took time.Duration) {
	s.emit(events.Event{Kind: events.Programs, To: to, Version: versionText(next), Text: result, Took: took})
	s.options.Events(timeline.Event{At: s.options.Now(), Stage: programsName, Result: result, Took: took})
}

// stillRun returns an error unless services run as the same processes.
func (s *Supervisor) stillRun(before map[string]int) error {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		svc := s.services.byName[name]
		switch {
		case svc == nil:
			return fmt.Errorf("service %s does not exist any more", name)
		case svc.pid != before[name] || svc.state != machine.Running && svc.state != machine.Activating:
			return fmt.Errorf("service %s ran as process %d, and is %s as process %d", name, before[name], svc.state, svc.pid)
		}
	}
	return nil
}

// checkDaemon returns an error if containerd has been started again since.
func (s *Supervisor) checkDaemon(before int) error {
	if before == 0 {
		return nil
	}
	now, err := s.options.Daemon()
	if err == nil && now != before {
		err = fmt.Errorf("containerd ended in the probation: it was process %d, and is %d", before, now)
	}
	return err
}

// sameProgram returns an error unless a process executes the program at path.
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
