package task

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"keelson/runtime/bundle"
	"keelson/runtime/logs"
	"keelson/services/connection"
	"keelson/services/probe"
)

// Options of a Runner. All are required.
type Options struct {
	Connection *connection.Connection
	LogDir     string // /var/log
	Logger     *slog.Logger
	Now        func() time.Duration                  // CLOCK_BOOTTIME
	Output     func(OutputOf) Output                 // receives what containers print
	Process    func(int, Placement) (Process, error) // opens the first process of a container
	Exec       Exec                                  // runs commands of probes
	Down       <-chan struct{}                       // closed at shutdown: containerd is hardly waited for
	Offers     string                                // folder in which sockets are offered to shims
	Machine    bool                                  // Down is the end of the machine too, and of all that is in memory
	Notify     NotifySockets                         // keeps notification sockets for the next supervisor
}

// NotifySockets keeps the notification sockets of containers, with what they have reported
// (sockets.Set). A container is known by its ID and its first process.
type NotifySockets interface {
	KeepNotify(id string, pid int, socket *os.File, state any) error
	KeepNotifyState(id string, pid int, state any) error
	Notify(id string, pid int, state any) (*os.File, error) // of an earlier supervisor; nil: none
	ForgetNotify(id string, pid int)
}

// Exec runs a command in a container (see probe.Exec).
type Exec func(ctx context.Context, namespace, name string, args []string) (code int, output string, err error)

// Runner makes tasks.
type Runner struct {
	Options
	work     sync.WaitGroup
	limiter  limiter
	prober   probe.Prober
	reported sync.Map // sentences that are logged once
}

// NewRunner returns a Runner. Close must be called.
func NewRunner(options Options) *Runner {
	return &Runner{Options: options, limiter: newLimiter()}
}

// Close waits for the goroutines of all tasks, whose contexts must have ended.
func (r *Runner) Close() {
	r.work.Wait()
	r.prober.Close()
}

// warnOnce logs a warning unless the same was logged before.
func (r *Runner) warnOnce(key, text, service string) {
	if _, known := r.reported.LoadOrStore(key, nil); !known {
		r.Logger.Warn(text, "service", service)
	}
}

// Spec says what task to make.
type Spec struct {
	Name      string // of the service
	ID        string // of the container; empty: Name. Another one runs beside a container of the service
	Bundle    *bundle.Bundle
	Proven    bool // the bundle has been started before
	Streams   int  // how many streams of output all services have together
	Placement Placement
	Count     *logs.Count                // counts the output in files; may be nil
	Sockets   func() ([]*os.File, error) // opens those of Settings.Listen; required if there are any
	Report    func(Event)                // returns when the event has been handled; called from any goroutine
}

// id returns the ID of the container.
func (s Spec) id() string { return cmp.Or(s.ID, s.Name) }

func (s Spec) terminal() bool {
	return s.Bundle.Spec.Process != nil && s.Bundle.Spec.Process.Terminal
}

// notifies reports whether the service has a socket for sd_notify(3).
func (s Spec) notifies() bool {
	return s.Bundle.Settings.Ready.Kind == notifyKind || s.Bundle.Settings.Health.Kind == notifyKind
}

const notifyKind = "notify"

// Placement is where the processes of a container are among the cgroups of services.
type Placement struct {
	Path   string   // of the container's cgroup
	Outer  bool     // cgroups of other services lie in it: its processes are in bundle.OwnCgroup
	Others []string // paths of the cgroups of all other services
}

// Record is what the next supervisor needs to take over a task.
type Record struct {
	LogAt    [2]int64 `json:"logAt"`              // where its output begins in its logs
	NotifyAt string   `json:"notifyAt,omitempty"` // its NOTIFY_SOCKET
	Cgroup   string   `json:"cgroup,omitempty"`   // path of the one in which it was made
}

// Task is one life of a service's container. Its methods return without waiting for
// containerd. Except Abort and Placement, they may be called once Started was reported or
// Adopt has returned.
type Task struct {
	runner   *Runner
	spec     Spec
	ctx      context.Context // ends with the task
	cancel   context.CancelFunc
	starting context.Context // ends when the start is given up
	abort    context.CancelFunc

	// Set before Started is reported, or before Adopt returns.
	pid    int
	oom    oomCounter
	pids   *pidsWatch    // nil: nothing to watch
	notify *probe.Notify // nil: the service has no notification socket
	record Record
	output Output

	oomLock sync.Mutex // of oom.reported

	stopper
}

func (r *Runner) newTask(ctx context.Context, spec Spec) *Task {
	t := &Task{runner: r, spec: spec, stopper: stopper{service: spec.Name, logger: r.Logger}}
	t.ctx, t.cancel = context.WithCancel(ctx)
	t.starting, t.abort = context.WithCancel(t.ctx)
	return t
}

// Launch makes a container, starts it and follows it to its end. When ctx ends it is not
// followed any more, and keeps running.
func (r *Runner) Launch(ctx context.Context, spec Spec) *Task {
	t := r.newTask(ctx, spec)
	r.work.Go(t.launch)
	return t
}

// Adopt follows a container that an earlier supervisor has started. record is what that
// one has left of it, nil when it has left nothing.
func (r *Runner) Adopt(ctx context.Context, spec Spec, pid int, record *Record) *Task {
	t := r.newTask(ctx, spec)
	t.abort()
	t.takeOver(pid, record)
	r.work.Go(func() {
		t.openOutput(true)
		t.follow()
	})
	return t
}

// Abort gives up a start: NotStarted is reported, unless Started was.
func (t *Task) Abort() { t.abort() }

// Placement returns where the container's processes are.
func (t *Task) Placement() Placement { return t.spec.Placement }

// Record returns what the next supervisor needs.
func (t *Task) Record() Record { return t.record }

// takeOver opens the process and the files of a container that runs.
func (t *Task) takeOver(pid int, record *Record) {
	t.spec.Placement = t.spec.Placement.adopted(pid, record)
	t.pid = pid
	t.oom = newOOMCounter(t.spec.Placement, t.spec.Bundle.Settings.Delegate)
	t.pids = newPidsWatch(t.spec.Bundle, t.spec.Placement, true)
	if record != nil {
		t.record = *record
	} else {
		t.record.NotifyAt = probe.NotifySocketOf(pid)
	}
	t.record.Cgroup = t.spec.Placement.made()
	process, err := t.runner.Process(pid, t.spec.Placement)
	if err != nil {
		return // It has ended; containerd knows how.
	}
	t.stopper.open(process)
	if err := t.listen(); err != nil {
		t.runner.Logger.Error("cannot receive notifications of a service", "service", t.spec.Name, "error", err)
	}
}

func (t *Task) others() []string { return t.spec.Placement.Others }

// openOutput prepares for what the container prints, or has printed.
func (t *Task) openOutput(adopted bool) {
	t.output = t.runner.Output(OutputOf{
		Service: t.spec.Name, Beside: t.spec.ID != "" && !adopted, Adopted: adopted,
		Settings: t.spec.Bundle.Settings, Streams: t.spec.Streams, Terminal: t.spec.terminal(), Count: t.spec.Count,
	})
}

// closeOutput comes before the end is reported: whoever hears of it may read the log.
func (t *Task) closeOutput() {
	if t.output != nil {
		t.output.Close()
	}
}

// close releases what the task holds; of a container that runs, nothing that the next
// supervisor needs.
func (t *Task) close() {
	t.cancel()
	t.closeOutput()
	if t.notify != nil {
		_ = t.notify.Close()
	}
	t.pids.close()
	t.oom.close()
	t.stopper.close()
}
