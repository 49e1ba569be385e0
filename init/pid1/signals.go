package pid1

import (
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"

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

// harmless are signals that end a Go program unless somebody takes them. They
// are taken rather than ignored, because children would inherit that. A fault of
// the program's own is a panic all the same: the last ones are taken only when
// another process sends them.
var harmless = []os.Signal{
	unix.SIGHUP, unix.SIGQUIT, unix.SIGABRT, unix.SIGTRAP, unix.SIGSYS, unix.SIGSTKFLT, unix.SIGALRM, unix.SIGPIPE,
	unix.SIGVTALRM, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGIO, unix.SIGPWR, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
	unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL,
}

// signals turns the first request to go down into an action.
type signals struct {
	incoming chan os.Signal
	asked    chan struct{} // closed when there is an action

	mu     sync.Mutex
	action *action
	later  map[string]bool // what was asked for in vain, and told
	heir   *heir           // who must know of an action too; nil: nobody
}

func newSignals() *signals {
	return &signals{incoming: make(chan os.Signal, 8), asked: make(chan struct{}), later: map[string]bool{}}
}

// listen takes all signals that mean something or would end us.
func (s *signals) listen() {
	for sig := range actions {
		signal.Notify(s.incoming, sig)
	}
	signal.Notify(make(chan os.Signal, 1), harmless...) // Nobody reads it.
}

// watch never returns.
func (s *signals) watch(say func(string)) {
	for sig := range s.incoming {
		s.take(sig, say)
		fault.Here("signals")
	}
}

// drain takes what is waiting.
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

// takeCaught takes those that were meant for another incarnation.
func (s *signals) takeCaught(caught []byte) {
	for n, came := range caught {
		if came != 0 {
			s.take(unix.Signal(n), func(string) {})
		}
	}
}

// take makes the first request an action. A later one changes nothing, and is
// told once, however often it comes.
func (s *signals) take(sig os.Signal, say func(string)) {
	a, ok := actions[sig]
	if !ok {
		return
	}
	if first, ok := s.ask(a); !ok && s.isNew(a) {
		say(a.name + " asked for, but already on the way down: " + first.name)
	}
}

// ask makes a the action unless there is one, and tells which there is.
func (s *signals) ask(a action) (action, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.action != nil {
		return *s.action, false
	}
	s.action = &a
	s.heir.hear(a)
	close(s.asked)
	return a, true
}

// bequeath has h hear of actions that are asked for from now on, and returns the
// name of the one there is already, if any.
func (s *signals) bequeath(h *heir) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heir = h
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

// chosen is the action, once asked is closed.
func (s *signals) chosen() action {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.action == nil {
		return powerOff
	}
	return *s.action
}
