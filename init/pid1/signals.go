package pid1

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
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
// are taken rather than ignored, because children would inherit that.
var harmless = []os.Signal{
	unix.SIGHUP, unix.SIGQUIT, unix.SIGABRT, unix.SIGTRAP, unix.SIGSYS, unix.SIGSTKFLT, unix.SIGALRM, unix.SIGPIPE,
	unix.SIGVTALRM, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGIO, unix.SIGPWR, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
}

// signals turns the first request to go down into an action.
type signals struct {
	incoming chan os.Signal
	asked    chan struct{} // closed when action is set
	action   action
}

func listen() *signals {
	s := &signals{incoming: make(chan os.Signal, 8), asked: make(chan struct{})}
	for sig := range actions {
		signal.Notify(s.incoming, sig)
	}
	signal.Notify(make(chan os.Signal, 1), harmless...) // Nobody reads it.
	return s
}

// watch never returns. A later request than the first changes nothing.
func (s *signals) watch(say func(string)) {
	for first := true; ; {
		a, ok := actions[<-s.incoming]
		switch {
		case !ok:
		case first:
			first = false
			s.action = a
			close(s.asked)
		default:
			say(a.name + " asked for, but already on the way down: " + s.action.name)
		}
	}
}
