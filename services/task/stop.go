package task

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Times after a stop signal at which Stop checks whether the program received it.
const (
	firstCheck = 100 * time.Millisecond
	lastCheck  = time.Second
)

// Stop sends the container its stop signal. The caller kills a container that does not
// end. Processes in the cgroups with the paths in spare are left alone.
func (t *Task) Stop(signal syscall.Signal, spare []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.process == nil {
		return
	}
	program := t.process.Program() // Before the signal, which may be followed by another program.
	t.signal(signal, spare)
	t.repeat(signal, spare, program, firstCheck)
}

// Kill kills all processes of the container, but none in the cgroups with the paths in
// spare.
func (t *Task) Kill(spare []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kill(spare)
}

func (t *Task) kill(spare []string) {
	if t.process == nil {
		return
	}
	if err := t.process.KillAll(spare); err != nil {
		t.runner.Logger.Error("cannot kill a service", "service", t.spec.Name, "error", err)
	}
}

// signal sends the stop signal. One that the first process would never receive is sent
// to its descendants: when these have ended it may end too, as a shell script does. A
// container with a single process is killed, as the signal would end any other process.
func (t *Task) signal(signal syscall.Signal, spare []string) {
	if !t.process.Drops(signal) {
		if err := t.process.Signal(signal); err != nil {
			t.runner.Logger.Error("cannot signal a service", "service", t.spec.Name, "error", err)
		}
		return
	}
	if t.process.SignalDescendants(signal) {
		return
	}
	t.runner.Logger.Info("service does not catch its stop signal and is killed",
		"service", t.spec.Name, "pid", t.pid, "signal", unix.SignalName(signal))
	t.kill(spare)
}

// repeat sends the stop signal again to a container that had just been started: the
// runtime may have received it, before it executed the container's program, and have
// lost it.
func (t *Task) repeat(signal syscall.Signal, spare []string, program string, after time.Duration) {
	if program == "" || after > lastCheck {
		return
	}
	time.AfterFunc(after, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.process == nil || t.ctx.Err() != nil {
			return
		}
		switch t.process.Program() {
		case "":
		case program:
			t.repeat(signal, spare, program, 3*after)
		default:
			t.signal(signal, spare)
		}
	})
}

func (t *Task) setProcess(p Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.process = p
}

// closeProcess closes the process if there is one.
func (t *Task) closeProcess() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.process != nil {
		t.process.Close()
		t.process = nil
	}
}
