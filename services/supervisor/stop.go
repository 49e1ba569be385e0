package supervisor

import (
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keelson/services/machine"
)

// signal asks the container to stop, and has it killed when it does not.
func (s *Supervisor) signal(svc *service) {
	settings := svc.settings()
	if r := svc.run; r != nil && r.process != nil {
		told := r.process.Program() // Before it is told, lest it is another right after.
		s.signalOnce(svc, settings.StopSignal)
		s.signalAgain(svc, told, firstLook)
	}
	s.arm(svc, settings.StopTimeout, machine.Timeout)
}

func (s *Supervisor) signalOnce(svc *service, signal syscall.Signal) {
	if svc.run.process.Drops(signal) {
		s.signalDeaf(svc, signal)
	} else if err := svc.run.process.Signal(signal); err != nil {
		s.options.Logger.Error("service cannot be signalled", "service", svc.name, "error", err)
	}
}

// Times after a stop signal when it is looked whether the program got it.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = time.Second
)

// signalAgain is for a container that has just been started: the signal may
// have come to the runtime, which was about to become the container's program
// and forgot it.
func (s *Supervisor) signalAgain(svc *service, told string, after time.Duration) {
	r := svc.run
	if told == "" || after > lastLook {
		return
	}
	time.AfterFunc(after, func() {
		s.send(func() {
			switch now := r.process.Program(); {
			case svc.run != r || now == "":
			case now == told:
				s.signalAgain(svc, told, 3*after)
			default:
				s.signalOnce(svc, svc.settings().StopSignal)
			}
		})
	})
}

// signalDeaf stops a container whose first process would never get the signal.
// Its children do, and when they are gone it may end too, as a script does.
// One without children ends as the signal ends any other process.
func (s *Supervisor) signalDeaf(svc *service, signal syscall.Signal) {
	if svc.run.process.SignalBelow(signal) {
		return
	}
	s.options.Logger.Info("service does not catch its stop signal and is killed",
		"service", svc.name, "pid", svc.pid, "signal", unix.SignalName(signal))
	s.killAll(svc)
}

func (s *Supervisor) kill(svc *service) {
	s.options.Logger.Warn("service did not stop in time and is killed", "service", svc.name, "pid", svc.pid,
		"timeout", svc.settings().StopTimeout)
	s.killAll(svc)
}

func (s *Supervisor) killAll(svc *service) {
	if svc.run == nil || svc.run.process == nil {
		return
	}
	if err := svc.run.process.KillAll(s.cgroupsOfOthers(svc)); err != nil {
		s.options.Logger.Error("service cannot be killed", "service", svc.name, "error", err)
	}
}

// stopLater has services stopped as soon as those that were started after
// them, and are to be stopped too, have ended.
func (s *Supervisor) stopLater(names []string) {
	for _, name := range names {
		s.toStop[name] = true
	}
	s.settle()
}

// stopNext stops the ones to be stopped that nobody needs any more.
func (s *Supervisor) stopNext() {
	if s.mayRun() {
		return // They are stopped once they are known.
	}
	for _, name := range s.names() {
		svc := s.services[name]
		if !s.toStop[name] || s.isNeeded(name) {
			continue
		}
		if svc.state.Settled() {
			delete(s.toStop, name)
			s.again = true // Who waited for this one?
		}
		s.apply(svc, machine.Stop)
	}
}

func (s *Supervisor) isNeeded(name string) bool {
	for _, other := range s.graph.After(name) {
		if s.toStop[other] && !s.services[other].state.Settled() {
			return true
		}
	}
	return false
}

// writeStopDeadline tells PID 1 how long a stop of everything may take: as long
// as the slowest chain of services that stop one after the other.
func (s *Supervisor) writeStopDeadline() {
	known := map[string]time.Duration{}
	var chain func(name string) time.Duration
	chain = func(name string) time.Duration {
		if d, ok := known[name]; ok {
			return d
		}
		var before time.Duration
		for _, other := range s.graph.After(name) {
			before = max(before, chain(other))
		}
		known[name] = before + s.services[name].settings().StopTimeout
		return known[name]
	}
	var longest time.Duration
	for name := range s.services {
		longest = max(longest, chain(name))
	}
	path := filepath.Join(s.options.StateDir, "stop-deadline")
	if err := writeFile(path, []byte((longest+stopMargin).String()+"\n")); err != nil {
		s.options.Logger.Error("PID 1 will use its own deadline", "error", err)
	}
}
