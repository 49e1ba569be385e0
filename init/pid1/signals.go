package pid1

import (
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"keelson/init/pid1/handover"
	"keelson/runtime/fault"
)

// action is a way to shut down.
type action struct {
	name    string
	command int // of reboot(2)
}

var (
	halt     = action{"halt", unix.LINUX_REBOOT_CMD_HALT}
	powerOff = action{"power off", unix.LINUX_REBOOT_CMD_POWER_OFF}
	reboot   = action{"reboot", unix.LINUX_REBOOT_CMD_RESTART}
)

var actions = map[os.Signal]action{
	unix.SIGUSR1: halt,
	unix.SIGUSR2: powerOff,
	unix.SIGTERM: reboot,
	unix.SIGINT:  reboot, // ctrl-alt-del
}

// harmless are signals that end a Go program by default. They are caught rather than
// ignored, because children would inherit ignored signals. The last four are caught
// only when another process sends them; a fault of the program itself is still a panic.
var harmless = []os.Signal{
	unix.SIGHUP, unix.SIGQUIT, unix.SIGABRT, unix.SIGTRAP, unix.SIGSYS, unix.SIGSTKFLT, unix.SIGALRM, unix.SIGPIPE,
	unix.SIGVTALRM, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGIO, unix.SIGPWR, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
	unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL,
}

// relevantSignals returns the signals that must not be lost, and those that must not
// end the program, while PID 1 re-executes itself.
func relevantSignals() handover.Signals {
	return handover.Signals{Caught: slices.Collect(maps.Keys(actions)), Held: harmless}
}

// signals turns the first request for a shutdown into an action.
type signals struct {
	incoming  chan os.Signal
	requested chan struct{} // closed when there is an action

	mu     sync.Mutex
	action *action
	later  map[string]bool // actions that were requested too late, and logged
	// handover receives the name of an action that is requested too late to be in the
	// state; nil unless PID 1 is about to re-execute itself.
	handover *handover.Handover
}

func newSignals() *signals {
	return &signals{incoming: make(chan os.Signal, 8), requested: make(chan struct{}), later: map[string]bool{}}
}

// listen catches all signals that have a meaning or would end PID 1.
func (s *signals) listen() {
	for sig := range actions {
		signal.Notify(s.incoming, sig)
	}
	signal.Notify(make(chan os.Signal, 1), harmless...) // Nothing reads this channel.
}

// watch handles signals and does not return.
func (s *signals) watch(log func(string)) {
	for sig := range s.incoming {
		s.handle(sig, log)
		fault.Here("signals")
	}
}

// drain handles the signals that wait in the channel.
func (s *signals) drain() {
	for {
		select {
		case sig := <-s.incoming:
			s.handle(sig, func(string) {})
		default:
			return
		}
	}
}

// handleCaught handles signals that the handover has caught.
func (s *signals) handleCaught(caught []unix.Signal) {
	for _, sig := range caught {
		s.handle(sig, func(string) {})
	}
}

// handle makes the first request the action. A later request changes nothing and is
// logged once.
func (s *signals) handle(sig os.Signal, log func(string)) {
	a, ok := actions[sig]
	if !ok {
		return
	}
	if first, ok := s.request(a); !ok && s.isNew(a) {
		log(a.name + " ignored: the system already shuts down: " + first.name)
	}
}

// request makes a the action unless there is one already. It returns the action and
// whether a was accepted.
func (s *signals) request(a action) (action, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.action != nil {
		return *s.action, false
	}
	s.action = &a
	s.handover.Note(a.name)
	close(s.requested)
	return a, true
}

// forward passes the names of actions requested from now on to h, and returns the name
// of an earlier one, if any.
func (s *signals) forward(h *handover.Handover) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handover = h
	if s.action == nil {
		return ""
	}
	return s.action.name
}

func (s *signals) isNew(a action) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	logged := s.later[a.name]
	s.later[a.name] = true
	return !logged
}

// chosen returns the action. It is valid once requested is closed.
func (s *signals) chosen() action {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.action == nil {
		return powerOff
	}
	return *s.action
}
