package task

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"keelson/runtime/signals"
)

// Times after a stop signal at which it is checked whether the program received it.
const (
	firstCheck = 100 * time.Millisecond
	lastCheck  = time.Second
)

// stopper stops a container by its first process. It keeps that open while it is used:
// the owner of a task signals it while the task ends.
type stopper struct {
	service string
	logger  *slog.Logger
	mu      sync.Mutex
	process Process // nil: it has ended, or does not exist yet
}

// Stop sends the container its stop signal. The caller kills a container that does not
// end. Processes in the cgroups with the paths in spare are left alone.
func (s *stopper) Stop(signal syscall.Signal, spare []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	program := s.process.Program() // Before the signal, which may be followed by another program.
	s.signal(signal, spare)
	s.repeat(signal, spare, program, firstCheck)
}

// Kill kills all processes of the container, but none in the cgroups with the paths in
// spare.
func (s *stopper) Kill(spare []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.kill(spare)
	}
}

// Signal sends a signal to the first process.
func (s *stopper) Signal(signal syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return errors.New("the process has ended")
	}
	if err := s.process.Signal(signal); err != nil {
		return fmt.Errorf("cannot send %s: %w", signals.Name(signal), err)
	}
	return nil
}

func (s *stopper) kill(spare []string) {
	if err := s.process.KillAll(spare); err != nil {
		s.logger.Error("cannot kill a service", "service", s.service, "error", err)
	}
}

// signal sends the stop signal. One that the first process would never receive is sent
// to its descendants: when these have ended it may end too, as a shell script does. A
// container with a single process is killed, as the signal would end any other process.
func (s *stopper) signal(signal syscall.Signal, spare []string) {
	if !s.process.Drops(signal) {
		if err := s.process.Signal(signal); err != nil {
			s.logger.Error("cannot signal a service", "service", s.service, "error", err)
		}
		return
	}
	if s.process.SignalDescendants(signal) {
		return
	}
	s.logger.Info("service does not catch its stop signal and is killed",
		"service", s.service, "signal", signals.Name(signal))
	s.kill(spare)
}

// repeat sends the stop signal again to a container that had just been started: the
// runtime may have received it, before it executed the container's program, and have
// lost it.
func (s *stopper) repeat(signal syscall.Signal, spare []string, program string, after time.Duration) {
	if program == "" || after > lastCheck {
		return
	}
	time.AfterFunc(after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.process == nil {
			return
		}
		switch s.process.Program() {
		case "":
		case program:
			s.repeat(signal, spare, program, 3*after)
		default:
			s.signal(signal, spare)
		}
	})
}

// open lets a process be stopped.
func (s *stopper) open(p Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
}

// close closes the process if there is one.
func (s *stopper) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.Close()
		s.process = nil
	}
}
