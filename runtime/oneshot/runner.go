package oneshot

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/runner"
)

// runnerGrace limits how long the runtime takes to accept a container, or to end when there are no more.
const runnerGrace = 10 * time.Second

// A Runner is a process of runc that runs one container after another. It starts with the first, and spares the
// others the start of a runtime. Without one that can do so (an image with another runtime), or when it dies, each
// container has a `runc run` of its own.
//
// The zero value is useful. Its methods are for one goroutine.
type Runner struct {
	current *runnerProcess // nil: none
	unable  bool           // the runtime has no such command
	grace   time.Duration  // runnerGrace when 0
}

// runnerProcess is a process and the connection to it.
type runnerProcess struct {
	cmd    *exec.Cmd
	socket int
	state  atomic.Int32 // of idle, busy, dead
	spent  bool         // it got a signal, which may come late and would stop the next container
}

// States of a runnerProcess.
const (
	idle int32 = iota
	busy       // a container runs, or could not be stopped
	dead       // has been reaped, and the socket closed
)

// Close ends the process, if there is one that runs no container.
func (r *Runner) Close() {
	process := r.current
	r.current = nil
	if process != nil && process.state.Load() == idle {
		end := time.AfterFunc(cmp.Or(r.grace, runnerGrace), func() { _ = process.cmd.Process.Kill() })
		defer end.Stop()
		process.reap()
	}
}

// reap ends the connection, waits for the process, which ends with it, and returns how it ended.
func (p *runnerProcess) reap() syscall.WaitStatus {
	_ = unix.Close(p.socket)
	_ = p.cmd.Wait()
	p.state.Store(dead)
	status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status
}

// run asks for a container, with the arguments of cmd and these standard streams, that stop may stop. It returns nil
// if that is not possible; then nothing has happened.
func (r *Runner) run(cmd *exec.Cmd, stop syscall.Signal, files [3]*os.File, log *slog.Logger) waiter {
	if r.current != nil && r.current.spent {
		r.Close()
	}
	for !r.unable && (r.current == nil || r.current.state.Load() != busy) {
		began := r.current == nil || r.current.state.Load() == dead
		if began {
			process, err := startRunner(cmd.Path)
			if err != nil {
				log.Warn("each container gets a runtime of its own", "error", err)
				r.unable = true
				return nil
			}
			r.current = process
		}
		err := r.current.ask(runner.Request{Args: cmd.Args[1:], Stop: stop}, files, cmp.Or(r.grace, runnerGrace))
		if err == nil {
			r.current.state.Store(busy)
			return (*served)(r.current)
		}
		_ = r.current.cmd.Process.Kill()
		r.Close()
		// One that has run containers may have ended since: it does when one could not be run, and after
		// runner.Limit.
		r.unable = began || !errors.Is(err, runner.ErrClosed)
		if r.unable && !errors.Is(err, runner.ErrClosed) {
			log.Warn("each container gets a runtime of its own", "error", err)
		}
	}
	return nil
}

// startRunner starts the runtime in path.
func startRunner(path string) (*runnerProcess, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket: %w", err)
	}
	other := os.NewFile(uintptr(pair[1]), "socket")
	defer other.Close()
	cmd := exec.Command(path, runner.Command)
	cmd.ExtraFiles = []*os.File{other}
	if err := cmd.Start(); err != nil {
		_ = unix.Close(pair[0])
		return nil, fmt.Errorf("cannot start the runtime: %w", err)
	}
	return &runnerProcess{cmd: cmd, socket: pair[0]}, nil
}

// ask sends a request and waits until it is accepted.
func (p *runnerProcess) ask(r runner.Request, files [3]*os.File, grace time.Duration) error {
	timeout := unix.NsecToTimeval(grace.Nanoseconds())
	if err := unix.SetsockoptTimeval(p.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	descriptors := make([]int, len(files))
	for i, file := range files {
		descriptors[i] = int(file.Fd())
	}
	if err := runner.SendRequest(p.socket, r, descriptors); err != nil {
		return err
	}
	reply, err := runner.ReceiveReply(p.socket)
	if err == nil && reply.Done {
		err = errors.New("the runtime answers what was not asked")
	}
	if err != nil {
		return err
	}
	return unix.SetsockoptTimeval(p.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{})
}

// served is a container that a runner runs.
type served runnerProcess

// Wait waits for the end of the container, or of the process that runs it.
func (s *served) Wait() (syscall.WaitStatus, error) {
	reply, err := runner.ReceiveReply(s.socket)
	if err == nil && reply.Done {
		s.state.Store(idle)
		return syscall.WaitStatus(reply.Status << 8), nil
	}
	if !errors.Is(err, runner.ErrClosed) {
		_ = s.Kill() // Its answers make no sense.
	}
	return (*runnerProcess)(s).reap(), nil
}

func (s *served) Signal(signal os.Signal) error {
	s.spent = true
	return s.cmd.Process.Signal(signal)
}

func (s *served) Kill() error { return s.cmd.Process.Kill() }
func (s *served) pid() int    { return s.cmd.Process.Pid }
