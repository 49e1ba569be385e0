package pid1

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/pid1/keeper"
	"keelson/init/role"
	"keelson/runtime/fault"
	"keelson/runtime/paths"
	"keelson/runtime/timeline"
)

const (
	// trialLimit is how long programs may be on trial, from the start of the supervisor
	// among them.
	trialLimit = 90 * time.Second
	// undoLimit is how long the role may take that ends a trial.
	undoLimit = 30 * time.Second
	// lookLimit is how long a look at the file of a trial may take.
	lookLimit = time.Second
)

// trial is a trial of keelson's own programs (services/supervisor). PID 1 only looks whether
// its file exists.
type trial struct {
	File  trialFile
	Began time.Duration // when the supervisor under trial was first started
}

// trialFile identifies the file of a trial.
type trialFile struct {
	Ino   uint64
	MTime int64 // in nanoseconds
}

// lookForTrial returns the file of a trial, or zero if there is none.
func (p *pid1) lookForTrial() trialFile {
	found := make(chan trialFile, 1)
	if !p.onState(func() {
		var st unix.Stat_t
		if unix.Lstat(paths.ProgramsTrial, &st) == nil {
			found <- trialFile{st.Ino, st.Mtim.Nano()}
			return
		}
		found <- trialFile{}
	}) {
		return trialFile{}
	}
	return <-found
}

// onState calls f, which uses the file system of the state, and reports whether it returned
// within lookLimit. As long as it has not, because the file system hangs, no other f is
// called.
func (p *pid1) onState(f func()) bool {
	limit := time.NewTimer(lookLimit)
	defer limit.Stop()
	select {
	case p.looking <- struct{}{}:
	case <-limit.C:
		return false
	}
	done := p.serve("file of a trial", func() {
		f()
		<-p.looking
	})
	select {
	case <-done:
		return true
	case <-limit.C:
		return false
	}
}

// followTrial is called before each start of the supervisor. While a trial exists, the first
// supervisor is the one under trial, and a second start means that it has ended. It returns
// the trial that begins with this start, for beginTrial, or zero.
func (p *pid1) followTrial() trialFile {
	file := p.lookForTrial()
	if file == (trialFile{}) {
		return file
	}
	if p.summary().Trial.File == file {
		p.undoTrial(file, "the supervisor ended")
		return trialFile{}
	}
	p.limitTrial(file, 0)
	return file
}

// beginTrial records that the supervisor under trial was started, or could not be. It is not
// recorded before: if PID 1 re-executes itself in between, the start is repeated.
func (p *pid1) beginTrial(file trialFile) {
	if file != (trialFile{}) {
		p.note(func(s *state) { s.Trial = trial{File: file, Began: timeline.Now()} })
	}
}

// limitTrial undoes a trial that is not over trialLimit after its begin, of which passed are
// over.
func (p *pid1) limitTrial(file trialFile, passed time.Duration) {
	p.serve("trial of programs", func() {
		most := fault.Shorten(trialLimit)
		limit := time.NewTimer(most - passed) // A negative one expires immediately.
		defer limit.Stop()
		select {
		case <-limit.C:
		case <-p.signals.requested: // The system is shutting down.
			return
		}
		if p.undoTrial(file, fmt.Sprintf("the trial did not end within %v", most)) {
			p.killDaemon(nameSupervisor)
		}
	})
}

// resumeTrial sets the limit of a trial again after PID 1 has re-executed itself. A trial that
// the state does not have may have begun, and gets the whole time.
func (p *pid1) resumeTrial() {
	file := p.lookForTrial()
	if file == (trialFile{}) {
		return
	}
	passed := time.Duration(0)
	if known := p.summary().Trial; known.File == file {
		passed = timeline.Now() - known.Began
	}
	p.limitTrial(file, passed)
}

// undoTrial runs the role that puts the committed programs into use again, and makes
// containerd start anew. It reports whether the trial was not over already.
func (p *pid1) undoTrial(file trialFile, why string) bool {
	p.undoing.Lock()
	defer p.undoing.Unlock()
	if p.lookForTrial() != file {
		return false
	}
	fault.Here("undo of programs")
	p.log.Error("keelson's programs on trial are replaced by those before", "reason", why)
	ctx, cancel := context.WithTimeout(context.Background(), undoLimit)
	defer cancel()
	p.serve("end of a trial", func() {
		select {
		case <-p.signals.requested: // The system is shutting down.
			cancel()
		case <-ctx.Done():
		}
	})
	if err := p.runUndo(ctx, why); err != nil {
		p.log.Error("cannot end the trial of keelson's programs", "error", err)
	}
	// The role has removed the file, unless it failed: the trial must not begin again.
	p.onState(func() { _ = unix.Unlink(paths.ProgramsTrial) })
	p.killDaemon(nameContainerd)
	return true
}

// runUndo runs the role, or waits for the one that was started before PID 1 re-executed
// itself.
func (p *pid1) runUndo(ctx context.Context, why string) error {
	child := p.reaper.Named(role.Programs)
	if child == nil {
		var err error
		if child, err = p.spawn(role.Programs, p.consoleFile, role.Init, role.Programs, "undo", why); err != nil {
			return err
		}
	}
	if _, err := child.Wait(ctx); err != nil {
		p.endGroup(child, keeper.KillGrace)
		return fmt.Errorf("%s was ended: %w", role.Programs, err)
	}
	if status := child.Status(); !status.Success() {
		return fmt.Errorf("%s %s", role.Programs, status)
	}
	return nil
}

// killDaemon kills a daemon, for its keeper to start it again.
func (p *pid1) killDaemon(name string) {
	if child := p.reaper.Named(name); child != nil {
		if err := child.Signal(unix.SIGKILL); err != nil {
			p.log.Error("cannot end a program", "program", name, "error", err)
		}
	}
}
