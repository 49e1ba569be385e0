package reaper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/fault"
	"keelson/runtime/signals"
)

// Reaper starts and reaps children. Create one with New, then call Run.
type Reaper struct {
	log *slog.Logger

	mu       sync.Mutex
	children map[int]*Child
	started  map[string]bool // names of all programs that were ever started
	alone    chan struct{}   // closed when there are no children; nil if nothing waits for that
}

// New returns a Reaper that logs errors of wait4(2).
func New(log *slog.Logger) *Reaper {
	return &Reaper{log: log, children: make(map[int]*Child), started: make(map[string]bool)}
}

// Command is a program to start.
type Command struct {
	Name  string // for the caller, see Named
	Path  string
	Args  []string // including the program's name
	Env   []string
	Files []*os.File // 0, 1, 2, …
	Sys   *syscall.SysProcAttr
}

// Child is a started process.
type Child struct {
	Pid    int
	Name   string
	Began  time.Time
	reaper *Reaper
	done   chan struct{}
	status Status
}

// Status is how a process ended.
type Status struct{ wait unix.WaitStatus }

// Success reports whether it exited with 0.
func (s Status) Success() bool { return s.wait.Exited() && s.wait.ExitStatus() == 0 }

// String returns "exited 3", "killed by SIGSEGV" or the like.
func (s Status) String() string {
	if s.wait.Signaled() {
		return "killed by " + signals.Name(s.wait.Signal())
	}
	return fmt.Sprintf("exited %d", s.wait.ExitStatus())
}

// Start starts a program, with no signal blocked.
func (r *Reaper) Start(c Command) (*Child, error) {
	attr := &syscall.ProcAttr{Env: c.Env, Sys: c.Sys}
	for _, f := range c.Files {
		attr.Files = append(attr.Files, f.Fd())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	began := time.Now()
	pid, err := forkExec(c.Path, c.Args, attr)
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", c.Path, err)
	}
	return r.register(c.Name, pid, began), nil
}

// register adds a child. The caller holds the lock.
func (r *Reaper) register(name string, pid int, began time.Time) *Child {
	child := &Child{Pid: pid, Name: name, Began: began, reaper: r, done: make(chan struct{})}
	r.children[pid], r.started[name] = child, true
	return child
}

// forkExec forks on a thread that blocks no signal, because the child inherits its mask.
func forkExec(path string, args []string, attr *syscall.ProcAttr) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var none, before unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, &before); err != nil {
		return 0, err
	}
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }()
	return syscall.ForkExec(path, args, attr)
}

// Age returns the time since the child was started.
func (c *Child) Age() time.Duration { return time.Since(c.Began) }

// Done is closed when the child has ended and is reaped.
func (c *Child) Done() <-chan struct{} { return c.done }

// Status returns how the child ended. It is valid once Done is closed.
func (c *Child) Status() Status {
	select {
	case <-c.done:
		return c.status
	default:
		return Status{}
	}
}

// Wait waits until the child or ctx ends.
func (c *Child) Wait(ctx context.Context) (Status, error) {
	select {
	case <-c.done:
		return c.status, nil
	case <-ctx.Done():
		return Status{}, fmt.Errorf("process %d still runs: %w", c.Pid, ctx.Err())
	}
}

// Signal sends sig to the child. It does nothing if the child has ended.
func (c *Child) Signal(sig syscall.Signal) error {
	c.reaper.mu.Lock()
	defer c.reaper.mu.Unlock()
	if c.reaper.children[c.Pid] != c {
		return nil
	}
	if err := unix.Kill(c.Pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot signal process %d: %w", c.Pid, err)
	}
	return nil
}

// Run reaps children until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	// One pending signal is enough, because Collect reaps all children that have ended.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	for {
		fault.Here("reaper")
		r.Collect() // Also children that ended before Notify.
		select {
		case <-ended:
		case <-ctx.Done():
			return
		}
	}
}

// batch is how many children are reaped before the lock is released once.
const batch = 256

// Collect reaps every child that has ended.
func (r *Reaper) Collect() {
	for r.collectBatch() {
	}
}

// collectBatch reports whether there may be more.
func (r *Reaper) collectBatch() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range batch {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			r.closeAlone()
			return false
		case err != nil:
			r.log.Error("cannot reap children", "error", err)
			return false
		case pid <= 0:
			return false
		default:
			r.collected(pid, status)
		}
	}
	return true
}

func (r *Reaper) collected(pid int, status unix.WaitStatus) {
	child, ok := r.children[pid]
	if !ok { // an orphan
		return
	}
	delete(r.children, pid)
	child.status = Status{wait: status}
	close(child.done)
}

// WaitAlone waits until there are no children, including orphans, or until ctx ends. Run
// must be running.
func (r *Reaper) WaitAlone(ctx context.Context) error {
	r.mu.Lock()
	if r.alone == nil {
		r.alone = make(chan struct{})
	}
	alone := r.alone
	r.mu.Unlock()
	r.Collect() // Without children, no signal would arrive.
	select {
	case <-alone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("processes still run: %w", ctx.Err())
	}
}

func (r *Reaper) closeAlone() {
	if r.alone != nil {
		close(r.alone)
		r.alone = nil
	}
}
