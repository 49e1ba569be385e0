package supervisor

import (
	"log/slog"
	"math"
	"time"

	"keelson/runtime/bundle"
	"keelson/runtime/idrange"
	"keelson/runtime/prepare"
	"keelson/services/machine"
	"keelson/services/versions"
)

// service is what is known of a service. Serve's goroutine owns it.
type service struct {
	name     string
	instance string          // ID of the container of a version that started beside another one; empty: name
	besideOf *service        // the service that this version is to replace; nil: it is a service itself
	dir      string          // of the bundle that the next start uses
	version  versions.Target // that is current
	trial    *trial          // a swap that has not ended; nil: there is none
	bundle   *bundle.Bundle  // nil: it cannot be loaded
	broken   error           // why
	clash    error           // another service has its name or cgroup: it cannot be started
	reload   bool            // the bundle is to be read again before the next start
	proven   bool            // the bundle has been started
	unwatch  func()          // ends the watch for a change of the bundle; nil: there is none

	state    machine.State
	since    time.Duration // when state was entered
	history  machine.History
	restarts int            // made by the supervisor: after an end or a failed start
	lastExit string         // how its container last ended
	exits    map[string]int // how often its containers ended, by task.Exit.Reason
	reason   string         // why it does not run, when that is a failure
	status   string         // what it says about itself, or what it waits for
	blocked  bool           // it waits for something that needs an order
	awaiting bool           // it waits for a condition, or for a service that does
	refused  bool           // its last start failed because of its configuration
	probed   string         // last result of its probes, as in events
	exit     *runEnd        // of its container, until the next transition
	first    firstStart

	task     Task          // the container that exists or is being made; nil: none
	pid      int           // first process of the container, once it runs
	launched time.Duration // when its start began
	started  time.Duration // when its first process ran
	startup  time.Duration // how long the start took
	ended    time.Duration // when it ended, or its start failed
	delay    time.Duration // from ended to the next start
	from     string        // folder of the bundle of task
	unmount  func() error  // removes its mounts; nil: there are none
	timer    *time.Timer   // for Delay or Timeout
}

// firstStart is the result of the first start of a service.
type firstStart int

const (
	firstPending firstStart = iota
	firstUp
	firstDown
)

// recordFirst keeps the result of the first start. Later results do not count, except
// that a service that runs after all has not failed.
func (svc *service) recordFirst(f firstStart) {
	if svc.first == firstPending || f == firstUp {
		svc.first = f
	}
}

// base returns the name of the service of which this may be a version.
func (svc *service) base() string {
	if svc.besideOf != nil {
		return svc.besideOf.name
	}
	return svc.name
}

func (svc *service) settings() bundle.Settings {
	if svc.bundle == nil {
		return bundle.Defaults()
	}
	return svc.bundle.Settings
}

func (svc *service) namespace() string {
	if svc.bundle == nil {
		return bundle.DefaultNamespace
	}
	return svc.bundle.Namespace()
}

func (svc *service) cancelTimer() {
	if svc.timer != nil {
		svc.timer.Stop()
		svc.timer = nil
	}
}

// addCurrent makes a service of the current version of a name, if there is one. A store
// that cannot be read leaves the image's.
func (s *Supervisor) addCurrent(name string, inImage bool) bool {
	state, err := s.versions.Recover(name)
	if err != nil {
		s.options.Logger.Error("cannot find out whether a service was swapped", "service", name, "error", err)
	}
	if state.Trial != nil {
		return s.addInterrupted(name, state, inImage)
	}
	if state.Current == versions.Removed || state.Current == versions.Image && !inImage {
		s.store.remove(name) // An earlier supervisor may have died before it did that.
		return false
	}
	return s.add(name, state.Current)
}

// load reads the bundle of the service. One that cannot be loaded is reported when the
// service is started.
func (svc *service) load(logger *slog.Logger, users *idrange.Table) {
	svc.proven = false
	svc.bundle, svc.broken = versions.Load(svc.dir, svc.base())
	if svc.broken != nil {
		svc.bundle = nil
		return
	}
	if svc.bundle.OwnUsers() {
		var err error
		if svc.bundle.FirstID, err = users.Assign(svc.base()); err != nil {
			logger.Error("the user IDs of a service may change when the supervisor or the machine is started again", "service", svc.name, "error", err)
		}
	}
	if svc.instance != "" {
		placeBeside(svc.bundle, svc.instance)
	}
	t := svc.trial
	if svc.besideOf != nil {
		t = svc.besideOf.trial
	}
	if t != nil {
		t.UseOrigin(svc.bundle, svc.dir)
	}
	for _, warning := range svc.bundle.Warnings {
		logger.Warn("setting not understood", "service", svc.name, "error", warning)
	}
	if svc.bundle.Settings.Role == bundle.RoleRescue {
		return
	}
	for _, warning := range svc.bundle.Inapplicable(bundle.KindService) {
		logger.Warn("setting ignored", "service", svc.name, "error", warning)
	}
	if warning := prepare.UnmappedRoot(svc.bundle); warning != "" {
		logger.Warn(warning, "service", svc.name)
	}
}

// startEnded records that there is no container, and when its start ended.
func (svc *service) startEnded(now time.Duration) {
	svc.task, svc.pid, svc.ended = nil, 0, now
	svc.startup = svc.ended - svc.launched
}

// planRestart counts a restart and sets the delay before it. jitter is from 0 to 1.
func (svc *service) planRestart(jitter float64) {
	svc.restarts++
	failures := svc.history.Failures
	if svc.refused {
		failures = math.MaxInt // Only another bundle helps: the largest delay.
	}
	svc.delay = machine.BackoffDelay(svc.settings(), failures, jitter)
	if failures <= 1 {
		// The time to make the container counts towards the first delay.
		svc.delay = max(0, svc.delay-svc.startup)
	}
}

func (svc *service) removeMounts(logger *slog.Logger) {
	if svc.unmount == nil {
		return
	}
	if err := svc.unmount(); err != nil {
		logger.Error("cannot remove the mounts of a service", "service", svc.name, "error", err)
	}
	svc.unmount = nil
}

// add makes a service of a bundle. It returns false for a bundle of the rescue role.
func (s *Supervisor) add(name string, version versions.Target) bool {
	svc := &service{name: name, version: version, dir: s.candidates.Folder(name, version), state: machine.Stopped, since: s.options.Now()}
	svc.load(s.options.Logger, s.users)
	if svc.bundle != nil && svc.bundle.Settings.Role == bundle.RoleRescue {
		return false
	}
	s.services.add(svc)
	return true
}

// reread loads the bundle of a service again.
func (s *Supervisor) reread(svc *service) {
	svc.load(s.options.Logger, s.users)
	s.services.claim(svc)
	s.arrange()
}
