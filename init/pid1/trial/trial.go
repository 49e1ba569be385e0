// Package trial ends trials of keelson's own programs that fail. A trial exists as long as
// its file does (paths.ProgramsTrial). The supervisor makes the file before it is started
// from the new programs, and removes it when they have proven themselves
// (services/supervisor). PID 1 does not read the file: it only looks whether it exists.
//
// A trial has failed if the supervisor ends during it, or if it takes longer than Limit. Its
// end is the work of a role (init/programs), which puts the programs before it into use.
package trial

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/fault"
	"keelson/runtime/timeline"
)

const (
	// Limit is how long programs may be on trial, from the start of the supervisor among
	// them.
	Limit = 90 * time.Second
	// restoreLimit is how long the role may take that ends a trial.
	restoreLimit = 30 * time.Second
	// lookLimit is how long a look at the file of a trial may take.
	lookLimit = time.Second
)

// Trial is a trial that PID 1 knows. Zero means none.
type Trial struct {
	File  File
	Began time.Duration // when the supervisor on trial was first started (timeline.Now)
}

// File identifies the file of a trial. Zero means that there is none.
type File struct {
	Ino   uint64
	MTime int64 // in nanoseconds
}

// System is what a Watch uses of PID 1.
type System struct {
	Path         string // of the file of a trial
	Log          *slog.Logger
	ShuttingDown <-chan struct{}
	// Serve runs f in a goroutine that survives panics. The channel is closed when f has
	// returned.
	Serve func(name string, f func()) <-chan struct{}
	// Restore runs the role that puts the programs before the trial into use.
	Restore func(ctx context.Context, why string) error
	// KillContainerd and KillSupervisor make the keepers start these programs again.
	KillContainerd, KillSupervisor func()
}

// Watch follows the trials of a system.
type Watch struct {
	System
	looking chan struct{} // full while a look waits for the file system
	undoing sync.Mutex    // held while a trial is undone

	mu    sync.Mutex
	known Trial
}

// New returns a Watch that knows a trial from before PID 1 re-executed itself, or zero.
func New(s System, known Trial) *Watch {
	return &Watch{System: s, looking: make(chan struct{}, 1), known: known}
}

// Known returns the trial whose supervisor was started, or zero.
func (w *Watch) Known() Trial {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known
}

// Follow is called before each start of the supervisor. While a trial exists, the first
// supervisor is the one on trial; a second start means that it has ended. Follow returns the
// trial that begins with this start, for Begin, or zero.
func (w *Watch) Follow() File {
	file := w.look()
	if file == (File{}) {
		return file
	}
	if w.Known().File == file {
		w.undo(file, "the supervisor ended")
		return File{}
	}
	w.limit(file, 0)
	return file
}

// Begin records that the supervisor on trial was started, or could not be. It is not
// recorded before: if PID 1 re-executes itself in between, the start is repeated.
func (w *Watch) Begin(file File) {
	if file == (File{}) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = Trial{File: file, Began: timeline.Now()}
}

// Resume sets the limit of a trial again after PID 1 has re-executed itself. A trial that is
// not known may just have begun, and gets the whole time.
func (w *Watch) Resume() {
	file := w.look()
	if file == (File{}) {
		return
	}
	passed := time.Duration(0)
	if known := w.Known(); known.File == file {
		passed = timeline.Now() - known.Began
	}
	w.limit(file, passed)
}

// limit undoes a trial that has not ended Limit after its begin, of which passed are over.
func (w *Watch) limit(file File, passed time.Duration) {
	w.Serve("trial of programs", func() {
		most := fault.Shorten(Limit)
		limit := time.NewTimer(most - passed) // A negative one expires immediately.
		defer limit.Stop()
		select {
		case <-limit.C:
		case <-w.ShuttingDown:
			return
		}
		if w.undo(file, fmt.Sprintf("the trial did not end within %v", most)) {
			w.KillSupervisor()
		}
	})
}

// undo restores the programs before a trial and makes containerd start again. It reports
// whether the trial had not ended yet.
func (w *Watch) undo(file File, why string) bool {
	w.undoing.Lock()
	defer w.undoing.Unlock()
	if w.look() != file {
		return false
	}
	fault.Here("undo of programs")
	w.Log.Error("keelson's programs on trial are replaced by those before", "reason", why)
	ctx, cancel := context.WithTimeout(context.Background(), restoreLimit)
	defer cancel()
	w.Serve("end of a trial", func() {
		select {
		case <-w.ShuttingDown:
			cancel()
		case <-ctx.Done():
		}
	})
	if err := w.Restore(ctx, why); err != nil {
		w.Log.Error("cannot end the trial of keelson's programs", "error", err)
	}
	// The role has removed the file, unless it failed: the trial must not begin again.
	w.onState(func() { _ = unix.Unlink(w.Path) })
	w.KillContainerd()
	return true
}

// look returns the file of a trial.
func (w *Watch) look() File {
	found := make(chan File, 1)
	if !w.onState(func() {
		var st unix.Stat_t
		if unix.Lstat(w.Path, &st) == nil {
			found <- File{st.Ino, st.Mtim.Nano()}
			return
		}
		found <- File{}
	}) {
		return File{}
	}
	return <-found
}

// onState calls f, which uses the file system of the state, and reports whether it returned
// within lookLimit. As long as it has not, because the file system hangs, no other f is
// called.
func (w *Watch) onState(f func()) bool {
	limit := time.NewTimer(lookLimit)
	defer limit.Stop()
	select {
	case w.looking <- struct{}{}:
	case <-limit.C:
		return false
	}
	done := w.Serve("file of a trial", func() {
		f()
		<-w.looking
	})
	select {
	case <-done:
		return true
	case <-limit.C:
		return false
	}
}
