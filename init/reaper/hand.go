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

// Known is what another program in the same process, after execve(2), must know
// of a child to go on with it.
type Known struct {
	Name string
	Pid  int
	Age  time.Duration
}

// ErrBusy is that of a Reaper that is still starting or collecting something.
var ErrBusy = errors.New("a program is being started, and that does not end")

// Freeze keeps children from being started and collected until thaw is called. It
// returns those there are, which keep their process ids meanwhile, and the names
// of all that were ever started.
func (r *Reaper) Freeze(limit time.Duration) (children []Known, begun []string, thaw func(), err error) {
	if err := r.lockWithin(limit); err != nil {
		return nil, nil, nil, err
	}
	for _, c := range r.children {
		children = append(children, Known{c.Name, c.Pid, time.Since(c.Began)})
	}
	return children, slices.Sorted(maps.Keys(r.begun)), r.mu.Unlock, nil
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

// Adopt takes over a child that was started before. Nothing may have been
// collected since, so Run comes later; until then the process id cannot be
// another's. ECHILD: there is no such child.
func (r *Reaper) Adopt(k Known) (*Child, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, k.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot go on with %s, process %d: %w", k.Name, k.Pid, err)
	}
	return r.register(k.Name, k.Pid, time.Now().Add(-k.Age)), nil
}

// Begun tells whether a program of that name was ever started.
func (r *Reaper) Begun(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun[name]
}

// Remember adds names to those that were started.
func (r *Reaper) Remember(names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		r.begun[name] = true
	}
}

// Named is a child of that name, nil when there is none.
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

// TryStart finds out whether a process can be started, by starting none.
func (r *Reaper) TryStart() error {
	_, err := syscall.ForkExec("/proc/self/none", []string{"none"}, nil)
	if errors.Is(err, unix.ENOENT) { // It came as far as looking for the program.
		return nil
	}
	return err
}
