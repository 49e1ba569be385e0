package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"keelson/runtime/bundle"
	"keelson/runtime/idrange"
	"keelson/runtime/logs"
	"keelson/services/candidate"
	"keelson/services/connection"
	"keelson/services/sockets"
	"keelson/services/task"
	"keelson/services/upgrade"
	"keelson/services/versions"
)

// Supervisor owns the services. Make one with New.
type Supervisor struct {
	options    Options
	connection *connection.Connection
	tasks      Tasks
	store      store
	versions   *versions.Store
	sockets    *sockets.Set
	upgrade    *upgrade.Upgrade  // of keelson's own programs
	candidates *candidate.Finder // for swaps of services
	recorder   recorder
	inbox      chan func()   // run by Serve's goroutine
	ended      chan struct{} // closed when Serve has returned
	down       chan struct{} // closed at shutdown
	adopted    chan struct{} // closed when what containerd runs is taken over
	replaced   chan struct{} // closed when another supervisor is to continue
	endOnce    sync.Once     // closes replaced
	endErr     error         // valid once replaced is closed

	// The rest belongs to Serve's goroutine.
	services    services
	users       *idrange.Table  // user IDs of services
	warned      map[string]bool // warnings about the order of services, logged once
	ctx         context.Context // of goroutines that Serve starts; ends with it
	work        sync.WaitGroup
	connecting  bool // to containerd, since there are services
	connected   bool // what runs is known
	stopping    bool
	reconciling bool
	changed     bool // something has changed since reconcile looked
	waiters     waiters
	awaited     awaited
	delayed     []func() // orders to carry out once connected
	announcer   announcer
	warming     bool                   // modules for swaps are being loaded, or have been
	swapping    map[string]bool        // services whose swap a client has ordered
	output      map[string]*logs.Count // of services, by name
	removed     []string               // services that were removed before, until containerd is connected
}

// New makes a supervisor that does nothing yet.
func New(options Options) *Supervisor {
	options = options.withDefaults()
	s := &Supervisor{
		options: options,
		tasks:   options.Tasks,
		store:   store{dir: options.StateDir, logger: options.Logger},
		inbox:   make(chan func()), ended: make(chan struct{}), down: make(chan struct{}),
		adopted: make(chan struct{}), replaced: make(chan struct{}),
		versions: versions.New(options.Versions),
		swapping: map[string]bool{}, output: map[string]*logs.Count{},
		sockets:  sockets.NewSet(options.Descriptors, options.Logger),
		recorder: recorder{options.Journal, options.Now},
		services: newServices(), warned: map[string]bool{},
	}
	s.candidates = candidate.New(candidate.Options{
		Dir: options.Dir, Policy: options.Policy, Versions: s.versions, Stage: options.Stage, Digest: options.Digest, Copy: options.Copy, Persist: s.persist,
	})
	s.upgrade = s.newUpgrade()
	s.connection = connection.New(connection.Options{Dial: options.Dial, KillStarting: options.KillStarting, Logger: options.Logger, Changed: s.connectionChanged})
	s.announcer = announcer{events: s.announceStage, now: options.Now, store: s.store}
	if s.tasks == nil {
		s.tasks = runner{task.NewRunner(task.Options{
			Connection: s.connection, LogDir: options.LogDir, Logger: options.Logger, Now: options.Now,
			Output: options.Output, Process: options.Process, Exec: options.Exec, Down: s.down,
			Offers: s.offers(), Notify: s.sockets, Machine: options.Machine,
		})}
	}
	return s
}

// Serve runs the services until ctx ends; then it stops them and returns.
func (s *Supervisor) Serve(ctx context.Context) error {
	defer close(s.ended)
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.ctx = own
	defer func() {
		cancel()
		s.connection.Close()
		s.tasks.Close()
		s.work.Wait()
	}()
	s.recorder.supervisor("started", "")
	defer s.recorder.supervisor("ending", "")
	if err := s.load(); err != nil {
		return err
	}
	s.announcer.done = s.store.announced()
	s.arrange()
	s.needContainerd()
	s.work.Go(func() { s.connection.Watch(s.ctx) })
	s.announce()
	s.upgrade.Resume()
	stop := ctx.Done()
	for !s.stopping || !s.services.allSettled() || s.mayRun() {
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

// post runs f in Serve's goroutine. It returns false when that has ended.
func (s *Supervisor) post(f func()) bool {
	select {
	case s.inbox <- f:
		return true
	case <-s.ended:
		return false
	}
}

// send is post for goroutines that Serve waits for.
func (s *Supervisor) send(f func()) {
	select {
	case s.inbox <- f:
	case <-s.ctx.Done():
	}
}

// ask runs f in Serve's goroutine and returns its result.
func (s *Supervisor) ask(f func() error) error {
	answer := make(chan error, 1)
	if !s.post(func() { answer <- f() }) {
		return errors.New("the supervisor is ending")
	}
	select {
	case err := <-answer:
		return err
	case <-s.ended:
		return errors.New("the supervisor ended")
	}
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

// load makes a service of every bundle.
func (s *Supervisor) load() error {
	if err := os.MkdirAll(filepath.Join(s.options.StateDir, "state"), 0o755); err != nil {
		return fmt.Errorf("cannot make state directory: %w", err)
	}
	names, err := bundle.List(s.options.Dir)
	if err != nil {
		return err
	}
	if s.users, err = idrange.Open(s.options.Users); err != nil {
		s.options.Logger.Error("services get the user IDs that follow from their names: files that they have written may belong to others", "error", err)
	}
	swapped, err := s.versions.Names()
	if err != nil {
		s.options.Logger.Error("services run as in the image", "error", err)
	}
	all := slices.Concat(names, swapped)
	slices.Sort(all)
	for _, name := range slices.Compact(all) {
		if !slices.Contains(swapped, name) {
			s.add(name, versions.Image)
		} else if !s.addCurrent(name, slices.Contains(names, name)) {
			s.removed = append(s.removed, name)
		}
	}
	return nil
}

// needContainerd starts to connect to containerd once there are services: PID 1 does not
// start it when there are none.
func (s *Supervisor) needContainerd() {
	if s.connecting || len(s.services.names) == 0 {
		return
	}
	s.connecting = true
	s.work.Go(s.connect)
	s.work.Go(s.watchFirstAnswer)
}
