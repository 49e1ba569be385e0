package supervisor

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"keelson/runtime/bundle"
	"keelson/runtime/condition"
	"keelson/runtime/fdstore"
	"keelson/runtime/idrange"
	"keelson/runtime/logs"
	"keelson/runtime/paths"
	"keelson/runtime/prepare"
	"keelson/runtime/programs"
	"keelson/runtime/swappolicy"
	"keelson/runtime/timeline"
	"keelson/services/candidate"
	"keelson/services/conditions"
	"keelson/services/connection"
	"keelson/services/containerd"
	"keelson/services/task"
	"keelson/services/versions"
)

// Task is what the supervisor asks of one life of a container. *task.Task implements it.
type Task interface {
	Abort()
	Probe()
	Watch()
	Stop(signal syscall.Signal, spare []string)
	Kill(spare []string)
	Signal(signal syscall.Signal) error
	Status() string
	Placement() task.Placement
	Record() task.Record
}

// Tasks makes tasks and takes them over. When ctx ends they are not followed any more, and
// Close waits for that.
type Tasks interface {
	Launch(ctx context.Context, spec task.Spec) Task
	Adopt(ctx context.Context, spec task.Spec, pid int, record *task.Record) Task
	Close()
}

// Options of a supervisor. What is left empty has the default named.
type Options struct {
	Dir      string // bundles: /containers/services
	Socket   string // of containerd: /run/containerd/containerd.sock
	StateDir string // /run/keelson
	LogDir   string // /var/log
	Runtime  string // OCI runtime that runs the commands of probes: /usr/bin/runc
	Versions string // versions of services: /var/lib/keelson/services
	Users    string // which user IDs services have: userns.json beside Versions
	Programs string // versions of keelson's own programs: /var/lib/keelson/programs
	Policy   string // says what may be swapped: /etc/keelson/swap.yml

	Machine bool // the machine ends when Serve does: containers are not removed then

	Descriptors *fdstore.Store // keeps the sockets of services for the next supervisor; nil: nothing does

	Events  func(timeline.Event)       // receives what is shown to people
	Journal Journal                    // receives what happens, for programs; nil: nothing does
	Logger  *slog.Logger               // receives the rest
	Power   func(syscall.Signal) error // signals PID 1
	Now     func() time.Duration       // CLOCK_BOOTTIME
	Random  func() float64             // 0 to 1, for jitter

	Dial         func(context.Context) (connection.Tasks, error) // connects to containerd when it listens
	KillStarting func() error                                    // kills a containerd that does not listen

	Output  func(task.OutputOf) task.Output                           // receives what containers print
	Process func(pid int, place task.Placement) (task.Process, error) // opens the first process of a container
	Exec    task.Exec                                                 // runs commands of probes
	Tasks   Tasks                                                     // makes tasks of the above and containerd

	Stage  candidate.Stage  // reads artifacts
	Digest candidate.Digest // verifies what Stage has not
	Copy   candidate.Copy   // copies what Stage has not

	UseCopy func(*bundle.Image) error // makes a mounted image read the copy
	WarmUp  func()                    // loads the modules by which versions are mounted

	Role        func(ctx context.Context, args ...string) (string, error) // as in upgrade.Options
	Daemon      func() (pid int, err error)                               // finds containerd
	SameProgram func(process, path string) error                          // as in upgrade.Options

	Changed func(ctx context.Context, dir string) (bool, error) // waits for a change of the bundle in dir; false when ctx ends

	Conditions func(changed func(met map[condition.Condition]bool)) (Conditions, error) // what watches conditions
}

func (o Options) withDefaults() Options {
	o.Dir = cmp.Or(o.Dir, bundle.ServicesDir)
	o.Socket = cmp.Or(o.Socket, paths.ContainerdSocket)
	o.StateDir = cmp.Or(o.StateDir, paths.State)
	o.LogDir = cmp.Or(o.LogDir, paths.Logs)
	o.Runtime = cmp.Or(o.Runtime, paths.Runc)
	o.Versions = cmp.Or(o.Versions, versions.Dir)
	o.Users = cmp.Or(o.Users, filepath.Join(filepath.Dir(o.Versions), filepath.Base(idrange.Path)))
	o.Programs = cmp.Or(o.Programs, programs.Dir)
	o.Policy = cmp.Or(o.Policy, swappolicy.Path)
	if o.Events == nil {
		o.Events = func(timeline.Event) {}
	}
	if o.Journal == nil {
		o.Journal = noJournal{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Power == nil {
		o.Power = func(s syscall.Signal) error { return syscall.Kill(1, s) }
	}
	if o.Now == nil {
		o.Now = timeline.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context) (connection.Tasks, error) { return containerd.Dial(ctx, o.Socket, o.Runtime) }
	}
	if o.KillStarting == nil {
		o.KillStarting = func() error { return containerd.KillStarting("/proc", os.Getppid()) }
	}
	if o.Output == nil {
		o.Output = task.NewOutput(filepath.Join(o.StateDir, "logs"), o.LogDir, logs.ExternalSocket, o.Logger)
	}
	if o.Process == nil {
		o.Process = task.OpenProcess
	}
	if o.Exec == nil {
		o.Exec = task.NewExec(o.Runtime, o.StateDir)
	}
	if o.Stage == nil {
		o.Stage = candidate.StageWith(o.Logger)
	}
	if o.Digest == nil {
		o.Digest = candidate.DigestWith(o.Logger)
	}
	if o.Copy == nil {
		o.Copy = candidate.CopyWith(o.Logger)
	}
	if o.UseCopy == nil {
		o.UseCopy = prepare.UseFile
	}
	if o.WarmUp == nil {
		o.WarmUp = func() { _ = prepare.LackingForImages() } // The swap says what is lacking.
	}
	if o.Daemon == nil {
		o.Daemon = func() (int, error) { return containerd.Daemon(o.Socket) }
	}
	if o.Changed == nil {
		o.Changed = bundleChanged
	}
	if o.Conditions == nil {
		o.Conditions = func(changed func(map[condition.Condition]bool)) (Conditions, error) { return conditions.New(changed) }
	}
	return o
}

// runner makes tasks of containerd.
type runner struct{ *task.Runner }

func (r runner) Launch(ctx context.Context, spec task.Spec) Task { return r.Runner.Launch(ctx, spec) }

func (r runner) Adopt(ctx context.Context, spec task.Spec, pid int, record *task.Record) Task {
	return r.Runner.Adopt(ctx, spec, pid, record)
}
