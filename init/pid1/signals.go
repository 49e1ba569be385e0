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

// action is a way down.
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
// ignored, because children would inherit that. A fault of the program itself is still
// a panic: the last four are caught only when another process sends them.
var harmless = []os.Signal{
	unix.SIGHUP, unix.SIGQUIT, unix.SIGABRT, unix.SIGTRAP, unix.SIGSYS, unix.SIGSTKFLT, unix.SIGALRM, unix.SIGPIPE,
	unix.SIGVTALRM, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGIO, unix.SIGPWR, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
	unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL,
}

// relevantSignals are those that must not be lost, and those that must not end the
// program, while PID 1 re-executes itself.
func relevantSignals() handover.Signals {
	return handover.Signals{Caught: slices.Collect(maps.Keys(actions)), Held: harmless}
}

// signals turns the first request to go down into an action.
type signals struct {
	incoming chan os.Signal
	asked    chan struct{} // closed when there is an action

	mu     sync.Mutex
	action *action
	later  map[string]bool // actions that were requested too late, and logged
	// handover gets the name of an action that is requested too late to be in the
	// state; nil unless PID 1 is about to re-execute itself.
	handover *handover.Handover
}

func newSignals() *signals {
	return &signals{incoming: make(chan os.Signal, 8), asked: make(chan struct{}), later: map[string]bool{}}
}

// listen catches all signals that mean something or would end PID 1.
func (s *signals) listen() {
	for sig := range actions {
		signal.Notify(s.incoming, sig)
	}
	signal.Notify(make(chan os.Signal, 1), harmless...) // It is never read.
}

// watch never returns.
func (s *signals) watch(say func(string)) {
	for sig := range s.incoming {
		s.take(sig, say)
		fault.Here("signals")
	}
}

// drain takes the signals that are waiting.
func (s *signals) drain() {
	for {
		select {
		case sig := <-s.incoming:
			s.take(sig, func(string) {})
		default:
			return
		}
	}
}

// takeCaught takes signals that the handover has caught.
func (s *signals) takeCaught(caught []unix.Signal) {
	for _, sig := range caught {
		s.take(sig, func(string) {})
	}
}

// take makes the first request the action. A later one changes nothing and is logged
// once.
func (s *signals) take(sig os.Signal, say func(string)) {
	a, ok := actions[sig]
	if !ok {
		return
	}
	if first, ok := s.ask(a); !ok && s.isNew(a) {
		say(a.name + " ignored: the system already shuts down: " + first.name)
	}
}

// ask makes a the action unless there is one, and returns the one that holds and
// whether it is a.
func (s *signals) ask(a action) (action, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.action != nil {
		return *s.action, false
	}
	s.action = &a
	s.handover.Note(a.name)
	close(s.asked)
	return a, true
}

// forward has the names of actions that are requested from now on noted in h, and
// returns the name of an earlier one, if any.
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
	told := s.later[a.name]
	s.later[a.name] = true
	return !told
}

// chosen returns the action once asked is closed.
func (s *signals) chosen() action {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.action == nil {
		return powerOff
	}
	return *s.action
}
