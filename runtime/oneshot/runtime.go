package oneshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/keyring"
	"keelson/runtime/prepare"
	"keelson/runtime/runclog"
	"keelson/runtime/signals"
)

const (
	// killGrace limits the clean-up of a container that had to be killed.
	killGrace = 10 * time.Second
	// killRetry is the time between two attempts to kill.
	killRetry = 100 * time.Millisecond
)

// command returns a call of the runtime.
func (r *run) command(ctx context.Context, args ...string) *exec.Cmd {
	all := []string{"--root", r.options.Root, "--log", r.runtimeLog, "--log-format", "json"}
	if r.options.Debug {
		all = append(all, "--debug")
	}
	return exec.CommandContext(ctx, r.options.Runtime, append(all, args...)...)
}

// withKeyring calls do, which creates the container. When the kernel has no key left
// for a session keyring, it calls do a second time with the flag to create none.
func (r *run) withKeyring(do func(flags ...string) error) error {
	r.logStart = sizeOf(r.runtimeLog).size
	err := do()
	if err == nil || !keyring.Exhausted(err.Error()) {
		return err
	}
	if r.options.Logger != nil {
		r.options.Logger.Warn(keyring.Notice, "container", r.bundle.Name)
	}
	r.logStart = sizeOf(r.runtimeLog).size
	return do("--no-new-keyring")
}

// runForeground runs the bundle in dir with `runc run`. The runtime stays until the
// container ends, and forwards signals to it.
func (r *run) runForeground(ctx context.Context, dir string) error {
	return r.withKeyring(func(flags ...string) error { return r.runWith(ctx, dir, flags) })
}

func (r *run) runWith(ctx context.Context, dir string, flags []string) error {
	args := slices.Concat([]string{"run", "--bundle", dir}, flags, []string{r.bundle.Name})
	cmd := r.command(context.WithoutCancel(ctx), args...)
	cmd.Stderr, cmd.Stdout = r.outputs.write[0], r.outputs.write[1]
	if r.input != nil {
		cmd.Stdin = r.input
	}
	process, err := r.start(cmd)
	if err != nil {
		return fmt.Errorf("cannot start the runtime: %w", err)
	}
	r.debug("runs", "pid", process.pid())
	status, err := r.wait(ctx, process)
	if err != nil {
		return err
	}
	if status.ExitStatus() == 1 && ctx.Err() == nil { // Otherwise the error is that it was ended.
		if why := runclog.LastError(r.runtimeLog, r.logStart); why != "" {
			return errors.Join(r.bundle.Explain(errors.New(why)), r.delete())
		}
	}
	r.setStatus(status, true)
	// A runtime that was still starting, or was killed, may have left its container.
	if ctx.Err() != nil || status.Signaled() {
		return errors.Join(r.ended(ctx), r.delete())
	}
	return nil
}

// createAndStart creates the container, gives it its interfaces, binds its namespaces,
// and starts it.
func (r *run) createAndStart(ctx context.Context, dir string) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot become a subreaper: %w", err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	pidFile := filepath.Join(r.options.LogDir, "."+r.bundle.Name+".pid")
	defer os.Remove(pidFile)
	err := r.withKeyring(func(flags ...string) error { return r.create(ctx, dir, pidFile, flags) })
	if err != nil {
		return err
	}
	process, err := readProcess(pidFile)
	if err != nil {
		return errors.Join(err, r.delete())
	}
	r.debug("created", "pid", process.Pid)
	if err := prepare.AfterCreate(r.bundle, process.Pid); err != nil {
		return errors.Join(err, r.kill(process))
	}
	if err := r.call(ctx, finished(r.command(ctx, "start", r.bundle.Name))); err != nil {
		return errors.Join(err, r.kill(process))
	}
	status, err := r.wait(ctx, own{process})
	if err != nil {
		return errors.Join(err, r.delete())
	}
	r.setStatus(status, false)
	return errors.Join(r.ended(ctx), r.delete())
}

func (r *run) create(ctx context.Context, dir, pidFile string, flags []string) error {
	args := slices.Concat([]string{"create", "--bundle", dir, "--pid-file", pidFile}, flags, []string{r.bundle.Name})
	cmd := finished(r.command(ctx, args...))
	cmd.Stderr, cmd.Stdout = r.outputs.write[0], r.outputs.write[1]
	if err := r.call(ctx, cmd); err != nil {
		if ctx.Err() == nil {
			err = r.bundle.Explain(err)
		}
		return errors.Join(err, r.delete())
	}
	return nil
}

// finished lets a call of the runtime finish when its context ends, for killGrace at
// most. A `runc create` that is killed half-way leaves a process whose PID is not known.
// After a `runc start` the container may run already and is to get its stop signal.
func finished(cmd *exec.Cmd) *exec.Cmd {
	cmd.Cancel, cmd.WaitDelay = func() error { return os.ErrProcessDone }, killGrace
	return cmd
}

// kill deletes a created container and reaps its first process.
func (r *run) kill(process *os.Process) error {
	err := r.delete()
	_, _ = process.Wait()
	return err
}

// start starts a `runc run`: in the runner, or as a process of its own.
func (r *run) start(cmd *exec.Cmd) (waiter, error) {
	if r.options.Runner != nil && r.input == nil {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		streams := [3]*os.File{null, r.outputs.write[1], r.outputs.write[0]}
		if process := r.options.Runner.run(cmd, r.bundle.Settings.StopSignal, streams, r.options.Logger); process != nil {
			return process, nil
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return own{cmd.Process}, nil
}

// A waiter is what runs a container: a process, which may run others as well.
type waiter interface {
	Wait() (syscall.WaitStatus, error)
	Signal(os.Signal) error
	Kill() error
	pid() int
}

// own is a process for this container alone.
type own struct{ *os.Process }

func (p own) Wait() (syscall.WaitStatus, error) {
	state, err := p.Process.Wait()
	if err != nil {
		return 0, err
	}
	return state.Sys().(syscall.WaitStatus), nil
}

func (p own) pid() int { return p.Pid }

// wait returns when process has ended. When ctx ends first it stops the container; it
// returns an error when that fails.
func (r *run) wait(ctx context.Context, process waiter) (syscall.WaitStatus, error) {
	done := await(process)
	stopping := ctx.Done()
	var kill, last <-chan time.Time
	for {
		select {
		case e := <-done:
			if e.err != nil {
				return 0, fmt.Errorf("cannot wait for process %d: %w", process.pid(), e.err)
			}
			return e.status, nil
		case <-stopping:
			stopping = nil
			r.debug("gets its stop signal", "why", context.Cause(ctx))
			_ = process.Signal(r.bundle.Settings.StopSignal)
			timer := time.NewTimer(r.bundle.Settings.StopTimeout)
			defer timer.Stop()
			kill = timer.C
		case <-kill:
			r.debug("is killed")
			if err := r.delete(); err != nil {
				return 0, err
			}
			// A runtime that is still creating the container has nothing yet that
			// could be deleted. If it were killed, it would leave processes whose
			// PIDs are not known.
			kill = time.After(killRetry)
			if last == nil {
				last = time.After(killGrace)
			}
		case <-last:
			_ = process.Kill()
		}
	}
}

// ended is the result of Wait.
type ended struct {
	status syscall.WaitStatus
	err    error
}

// await waits for a process in the background.
func await(process waiter) <-chan ended {
	done := make(chan ended, 1)
	go func() {
		status, err := process.Wait()
		done <- ended{status, err}
	}()
	return done
}

// ended returns the reason why the container was ended, or nil.
func (r *run) ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// setStatus records how the process ended. With shell, the process is the runtime, which
// exits with 128+N when signal N killed the container.
func (r *run) setStatus(status syscall.WaitStatus, shell bool) {
	number := syscall.Signal(0)
	if status.Signaled() {
		number = status.Signal()
	} else if code := status.ExitStatus(); shell && code > 128 && code <= 128+64 {
		number = syscall.Signal(code - 128)
	}
	if number == 0 {
		r.result.ExitCode = status.ExitStatus()
		return
	}
	r.result.ExitCode = 128 + int(number)
	r.result.Signal = signals.Name(number)
}

// call runs a command of the runtime to its end.
func (r *run) call(ctx context.Context, cmd *exec.Cmd) error {
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if why := runclog.LastError(r.runtimeLog, r.logStart); why != "" {
			return errors.New(why)
		}
		return fmt.Errorf("cannot run %s: %w", filepath.Base(cmd.Path), err)
	}
	return nil
}

// delete kills what is left of the container and removes its state.
func (r *run) delete() error {
	if _, err := os.Stat(filepath.Join(r.options.Root, r.bundle.Name)); err != nil {
		return nil // The runtime has no such container.
	}
	ctx, cancel := context.WithTimeout(context.Background(), killGrace)
	defer cancel()
	if out, err := r.command(ctx, "delete", "--force", r.bundle.Name).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot delete container %s: %w %s", r.bundle.Name, err, bytes.TrimSpace(out))
	}
	return nil
}

// killLeft kills what a runtime that was interrupted has left in the container's cgroup.
func (r *run) killLeft() {
	if left := prepare.KillLeft(r.bundle.Cgroup(r.bundle.Name), killGrace); left > 0 {
		r.options.Logger.Error("processes of a container that was ended cannot be killed", "container", r.bundle.Name, "processes", left)
	}
}

// readProcess reads a runtime's PID file.
func readProcess(path string) (*os.Process, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read PID file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return nil, fmt.Errorf("cannot read PID file %s: no process ID in %q", path, text)
	}
	return os.FindProcess(pid)
}
