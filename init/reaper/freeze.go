package reaper

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Known describes a child to the program that the process executes next.
type Known struct {
	Name string
	Pid  int
	Age  time.Duration
}

// ErrBusy is returned by Freeze when a child is being started or reaped for too long.
var ErrBusy = errors.New("the start of a program does not end")

// Freeze prevents that children are started or reaped until thaw is called. It returns the
// existing children, which keep their PIDs meanwhile, and the names of all programs that
// were ever started.
func (r *Reaper) Freeze(limit time.Duration) (children []Known, started []string, thaw func(), err error) {
	if err := r.lockWithin(limit); err != nil {
		return nil, nil, nil, err
	}
	for _, c := range r.children {
		children = append(children, Known{c.Name, c.Pid, time.Since(c.Began)})
	}
	return children, slices.Sorted(maps.Keys(r.started)), r.mu.Unlock, nil
}

func (r *Reaper) lockWithin(limit time.Duration) error {
	locked, late := make(chan struct{}), make(chan struct{})
	go func() {
		r.mu.Lock()
		select {
		case locked <- struct{}{}:
		case <-late:
			r.mu.Unlock()
		}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-locked:
		return nil
	case <-timer.C:
		close(late)
		return fmt.Errorf("%w: for %v", ErrBusy, limit)
	}
}

// Adopt takes over a child that was started before execve(2). It must be called before
// Run: as long as nothing is reaped, the PID cannot belong to another process. The error
// is ECHILD if there is no such child.
func (r *Reaper) Adopt(k Known) (*Child, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, k.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot take over %s, process %d: %w", k.Name, k.Pid, err)
	}
	return r.register(k.Name, k.Pid, time.Now().Add(-k.Age)), nil
}

// Started reports whether a program of that name was ever started.
func (r *Reaper) Started(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started[name]
}

// Remember adds names to the programs that were ever started.
func (r *Reaper) Remember(names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		r.started[name] = true
	}
}

// Named returns the child of that name, or nil.
func (r *Reaper) Named(name string) *Child {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// TryStart checks whether a process can be started: it forks, then executes a program
// that does not exist.
func (r *Reaper) TryStart() error {
	_, err := syscall.ForkExec("/proc/self/none", []string{"none"}, nil)
	if errors.Is(err, unix.ENOENT) { // The fork has succeeded.
		return nil
	}
	return err
}
