package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
	"keelson/runtime/logs"
	"keelson/runtime/prepare"
	"keelson/runtime/timeline"
	"keelson/services/connection"
	"keelson/services/containerd"
	"keelson/services/machine"
	"keelson/services/order"
	"keelson/services/probe"
)

// Exec runs a command in a container (see probe.Exec).
type Exec func(ctx context.Context, namespace, name string, args []string) (code int, output string, err error)

// Options of a supervisor; what is left empty has the default named.
type Options struct {
	Dir      string // bundles: /containers/services
	Socket   string // containerd's: /run/containerd/containerd.sock
	StateDir string // /run/keelson
	LogDir   string // /var/log
	Runtime  string // OCI runtime that runs probes' commands: /usr/bin/runc

	Events func(timeline.Event)                            // takes what people are to see
	Logger *slog.Logger                                    // takes the rest
	Power  func(syscall.Signal) error                      // signals PID 1
	Dial   func(context.Context) (connection.Tasks, error) // connects to containerd, when it listens
	Now    func() time.Duration                            // boot-time clock
	Random func() float64                                  // 0 to 1, for jitter
	Output func(OutputOf) Output                           // takes what containers print

	Process func(pid int) (Process, error) // takes hold of a container's first process
	Exec    Exec                           // for probes

	Changed func(ctx context.Context, dir string) (bool, error) // waits for a change of the bundle in dir; false when ctx ends

	KillStarting func() error // ends a containerd that does not listen
}

func (o Options) withDefaults() Options {
	o.Dir = cmp.Or(o.Dir, bundle.ServicesDir)
	o.Socket = cmp.Or(o.Socket, "/run/containerd/containerd.sock")
	o.StateDir = cmp.Or(o.StateDir, "/run/keelson")
	o.LogDir = cmp.Or(o.LogDir, "/var/log")
	o.Runtime = cmp.Or(o.Runtime, "/usr/bin/runc")
	if o.Events == nil {
		o.Events = func(timeline.Event) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Power == nil {
		o.Power = func(s syscall.Signal) error { return syscall.Kill(1, s) }
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context) (connection.Tasks, error) { return containerd.Dial(ctx, o.Socket) }
	}
	if o.Now == nil {
		o.Now = timeline.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Output == nil {
		o.Output = (&outputs{
			fifos: filepath.Join(o.StateDir, "logs"), logs: o.LogDir, socket: logs.ExternalSocket, logger: o.Logger,
		}).open
	}
	if o.Process == nil {
		o.Process = openProcess
	}
	if o.Changed == nil {
		o.Changed = bundleChanged
	}
	if o.KillStarting == nil {
		o.KillStarting = func() error { return containerd.KillStarting("/proc", os.Getppid()) }
	}
	if o.Exec == nil {
		o.Exec = (&inside{runtime: o.Runtime, dir: o.StateDir}).exec
	}
	return o
}

// Supervisor owns the services. Make one with New.
type Supervisor struct {
	options    Options
	connection *connection.Connection
	turns      turns
	inbox      chan func()   // run by Serve's goroutine
	ended      chan struct{} // closed when Serve has returned
	down       chan struct{} // closed when everything is to stop

	sayNoKeyring sync.Once // reported once; used by runs

	// The rest belongs to Serve's goroutine.
	services  map[string]*service
	taken     *bundle.Names // what of the services' names is taken
	sorted    []string      // their names
	graph     *order.Graph
	told      map[string]bool // what is wrong with it, and with limits
	toStop    map[string]bool // once nobody needs them
	ctx       context.Context // of what Serve starts; ends with it
	work      sync.WaitGroup
	prober    probe.Prober
	needed    bool // containerd is, since there are services
	connected bool
	stopping  bool
	settling  bool // settle is under way,
	again     bool // and has to look once more
	waiters   []*waiter
	early     []func() // orders from before connected
	announced announced
}

// New makes a supervisor that does nothing yet.
func New(options Options) *Supervisor {
	options = options.withDefaults()
	return &Supervisor{
		options: options, turns: newTurns(),
		connection: connection.New(connection.Options{Dial: options.Dial, KillStarting: options.KillStarting, Logger: options.Logger}),
		inbox:      make(chan func()), ended: make(chan struct{}), down: make(chan struct{}), services: map[string]*service{},
		taken: bundle.NewNames("services"), told: map[string]bool{}, toStop: map[string]bool{},
	}
}

// stopMargin is added to the longest stop timeout for PID 1's deadline.
const stopMargin = 5 * time.Second

// Serve runs the services until ctx ends; then it stops them and returns.
func (s *Supervisor) Serve(ctx context.Context) error {
	defer close(s.ended)
	defer s.prober.Close()
	defer s.work.Wait()
	defer s.connection.Close()
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.ctx = own
	if err := s.load(); err != nil {
		return err
	}
	s.announced = readAnnounced(s.options.StateDir)
	s.arrange()
	s.needContainerd()
	s.work.Go(func() { s.connection.Watch(s.ctx) })
	s.announce()
	stop := ctx.Done()
	for !s.stopping || !s.allSettled() || s.mayRun() {
		select {
		case f := <-s.inbox:
			f()
		case <-stop:
			stop = nil
			s.stopAll()
		}
	}
	return nil
}

// post hands f to Serve's goroutine; false when that has ended.
func (s *Supervisor) post(f func()) bool {
	select {
	case s.inbox <- f:
		return true
	case <-s.ended:
		return false
	}
}

// send posts from a goroutine of the supervisor's own, which Serve waits for.
func (s *Supervisor) send(f func()) {
	select {
	case s.inbox <- f:
	case <-s.ctx.Done():
	}
}

// load makes a service of every bundle.
func (s *Supervisor) load() error {
	if err := os.MkdirAll(filepath.Join(s.options.StateDir, "state"), 0o755); err != nil {
		return fmt.Errorf("cannot make state directory: %w", err)
	}
	names, err := bundle.List(s.options.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		s.add(name)
	}
	return nil
}

// add makes a service of a bundle; false when that is meant for rescue.
func (s *Supervisor) add(name string) bool {
	svc := &service{name: name, dir: filepath.Join(s.options.Dir, name), state: machine.Stopped, since: s.options.Now()}
	s.read(svc)
	if svc.bundle != nil && svc.bundle.Settings.Role == bundle.RoleRescue {
		return false
	}
	s.claim(svc)
	s.services[name] = svc
	s.sorted = slices.Sorted(maps.Keys(s.services))
	return true
}

// read loads a service's bundle. A bad one is reported when its start fails.
func (s *Supervisor) read(svc *service) {
	svc.proven = false
	b, err := bundle.Load(svc.dir)
	svc.bundle, svc.broken = b, err
	if err != nil {
		svc.bundle = nil
		return
	}
	for _, warning := range b.Warnings {
		s.options.Logger.Warn("setting not understood", "service", svc.name, "error", warning)
	}
	if b.Settings.Role == bundle.RoleRescue {
		return
	}
	for _, warning := range b.Misplaced(bundle.AsService) {
		s.options.Logger.Warn("setting ignored", "service", svc.name, "error", warning)
	}
	if warning := prepare.ForeignRoot(b); warning != "" {
		s.options.Logger.Warn(warning, "service", svc.name)
	}
}

// reread loads a service's bundle, which may have been changed.
func (s *Supervisor) reread(svc *service) {
	s.read(svc)
	s.claim(svc)
	s.arrange()
}

// names are the services' names, sorted.
func (s *Supervisor) names() []string { return s.sorted }

// needContainerd begins to connect to containerd once there are services: PID 1
// starts none where there are not.
func (s *Supervisor) needContainerd() {
	if s.needed || len(s.services) == 0 {
		return
	}
	s.needed = true
	s.work.Go(s.connect)
	s.work.Go(s.watchFirstAnswer)
}

// connect waits for containerd and takes over what it runs already.
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
		s.options.Logger.Error("containerd is not usable", "error", err)
		if !backoff.Wait(s.ctx, time.Second) { // it listens and fails: nothing tells when that ends
			return
		}
	}
	now := s.options.Now()
	s.send(func() {
		if s.connected {
			return // It came too late.
		}
		s.connected = true
		s.options.Events(timeline.Event{At: now, Stage: timeline.Containerd, Result: "answers", Took: now - begin})
		s.takeOver(found)
	})
}

// findTasks lists the tasks of our services, by service.
func (s *Supervisor) findTasks(tasks connection.Tasks) (map[string]containerd.Task, error) {
	namespaces, err := s.namespaces()
	if err != nil {
		return nil, err
	}
	found := map[string]containerd.Task{}
	for namespace, names := range namespaces {
		ctx, cancel := context.WithTimeout(s.ctx, callTime)
		list, err := tasks.List(ctx, namespace)
		cancel()
		if err != nil {
			return nil, err
		}
		for _, task := range list {
			if slices.Contains(names, task.ID) {
				found[task.ID] = task
			}
		}
	}
	return found, nil
}

// namespaces gives the services' names by containerd's namespace.
func (s *Supervisor) namespaces() (map[string][]string, error) {
	answer := make(chan map[string][]string, 1)
	s.send(func() {
		all := map[string][]string{}
		for _, svc := range s.services {
			namespace := svc.namespace()
			all[namespace] = append(all[namespace], svc.name)
		}
		answer <- all
	})
	select {
	case all := <-answer:
		return all, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

// stopAll is the way down: nothing starts any more.
func (s *Supervisor) stopAll() {
	s.stopping = true
	close(s.down)
	s.stopLater(s.names())
	if s.mayRun() {
		time.AfterFunc(downTime, func() { s.send(s.takeOverBlindly) })
	}
}

// mayRun tells whether an earlier supervisor's services may run that are not
// taken over yet.
func (s *Supervisor) mayRun() bool {
	if s.connected {
		return false
	}
	for _, name := range s.names() {
		if old, known := s.readState(name); known && old.Pid != 0 {
			return true
		}
	}
	return false
}

func (s *Supervisor) allSettled() bool {
	for _, svc := range s.services {
		if !svc.state.Settled() {
			return false
		}
	}
	return true
}
