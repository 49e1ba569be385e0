package upgrade

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"keelson/runtime/artifact"
	"keelson/runtime/programs"
	"keelson/runtime/timeline"
	"keelson/services/connection"
	"keelson/services/control"
	"keelson/services/events"
	"keelson/services/versions"
)

// Name is the name of keelson's own programs in their store, in events and in answers.
const Name = "programs"

// Host is the supervisor whose programs are replaced.
type Host interface {
	// Reserve calls set unless another swap has begun, or none can begin. No swap of a
	// service begins from then on while Upgrade.Busy.
	Reserve(set func()) error
	// Running returns the first processes of the services that run, by name. It fails when
	// the system is shutting down.
	Running() (map[string]int, error)
	// StillRun returns an error unless services run as these processes. Like Adopted, it is
	// called in goroutines of Go.
	StillRun(before map[string]int) error
	// Adopted waits until what containerd runs is known. It returns false if there is
	// nothing for containerd to run.
	Adopted(ctx context.Context) (bool, error)
	// Tasks waits for containerd.
	Tasks(ctx context.Context) (connection.Tasks, error)
	// KillContainerd kills containerd, also one that does not answer yet.
	KillContainerd(ctx context.Context) error
	// DeleteContainer removes a container, if there is one.
	DeleteContainer(name, namespace string) error
	// Persist changes the disk, if necessary by several attempts.
	Persist(change func() error) error
	// End ends the process without stopping services. With a reason it does not during a
	// shutdown, in which the process stops the services.
	End(reason error)
	// Go runs f in a goroutine that is waited for at the end of the supervisor. ctx ends
	// then.
	Go(f func(ctx context.Context))
}

// Options of an Upgrade.
type Options struct {
	Dir    string // versions of the programs
	State  string // files of a trial
	Policy string // says what may be swapped

	Logger *slog.Logger
	Now    func() time.Duration // CLOCK_BOOTTIME
	Shown  func(timeline.Event) // receives what is shown to people
	Emit   func(events.Event)   // receives what happens, for programs

	Stage       func(ctx context.Context, dir string, r io.Reader, progress func(string)) (artifact.Meta, error) // reads an artifact
	Daemon      func() (pid int, err error)                                                                      // finds containerd
	Role        func(ctx context.Context, args ...string) (string, error)                                        // runs the role of /init that checks and uses programs; nil: runRole
	SameProgram func(process, path string) error                                                                 // fails unless a process executes the program at path; nil: sameProgram
}

// Upgrade replaces the programs.
type Upgrade struct {
	Options
	host  Host
	store *versions.Store
	busy  atomic.Bool
}

// New returns an Upgrade of a supervisor.
func New(o Options, h Host) *Upgrade {
	if o.Role == nil {
		o.Role = runRole
	}
	if o.SameProgram == nil {
		o.SameProgram = sameProgram
	}
	return &Upgrade{Options: o, host: h, store: versions.New(filepath.Dir(o.Dir))}
}

// Busy reports whether an upgrade has begun.
func (u *Upgrade) Busy() bool { return u.busy.Load() }

// Difference describes the programs if they differ from those of the image.
func (u *Upgrade) Difference() ([]control.Difference, error) {
	if !u.everSwapped() {
		return nil, nil
	}
	state, err := u.store.Read(Name)
	if err != nil || state.Current == versions.Image && state.Previous == "" {
		return nil, err
	}
	d := control.Difference{Name: control.Programs, Change: "swapped", Version: state.Current.Digest(), Since: state.Record.At, By: state.Record.By}
	switch used := programs.ReadUsed(u.State); {
	case state.Current == versions.Image:
		d.Change = "reverted"
	case used != string(state.Current) && state.Trial == nil:
		d.Change = "not in use"
	}
	d.Previous = state.Previous.Text()
	return []control.Difference{d}, nil
}

func (u *Upgrade) everSwapped() bool {
	_, err := os.Lstat(u.Dir)
	return !errors.Is(err, fs.ErrNotExist)
}

// event reports how far an upgrade is.
func (u *Upgrade) event(to string, next versions.Target, result string, took time.Duration) {
	u.Emit(events.Event{Kind: events.Programs, To: to, Version: next.Text(), Text: result, Took: took})
	u.Shown(timeline.Event{At: u.Now(), Stage: Name, Result: result, Took: took})
}
