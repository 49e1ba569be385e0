package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/pid1/keeper"
	"keelson/init/pid1/kernel"
	"keelson/init/pid1/trial"
	"keelson/init/reaper"
	"keelson/init/role"
	"keelson/runtime/fdstore"
	"keelson/runtime/paths"
)

// Names of the daemons that PID 1 keeps running.
const (
	nameContainerd = "containerd"
	nameSupervisor = "supervisor"
)

// childVariables are the environment variables of every child, together with those of
// the environment.
var childVariables = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "TMPDIR=/tmp"}

// spawn starts a program with empty input; its output goes to the file that output
// opens. When PID 1 has run out of file descriptors, it raises its limit and tries once
// more.
func (p *pid1) spawn(name string, output func() (*os.File, error), args ...string) (*reaper.Child, error) {
	child, err := p.spawnOnce(name, output, args)
	if errors.Is(err, unix.EMFILE) && kernel.RaiseLimits(p.env.Machine, p.line) == nil {
		child, err = p.spawnOnce(name, output, args)
	}
	return child, err
}

func (p *pid1) spawnOnce(name string, output func() (*os.File, error), args []string) (*reaper.Child, error) {
	out, err := output()
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", args[0], err)
	}
	defer out.Close()
	null, err := os.Open("/dev/null")
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", args[0], err)
	}
	defer null.Close()
	files, env := []*os.File{null, out, out}, slices.Concat(childVariables, p.env.Variables())
	if name == nameSupervisor {
		more, variables := p.descriptorStore().Files(len(files))
		files, env = append(files, more...), append(env, variables...)
	}
	return p.reaper.Start(reaper.Command{
		Name: name, Path: args[0], Args: args, Env: env, Files: files,
		// A session of its own: no terminal, and a process group for signals.
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// runRole runs a role to its end. When ctx ends the role gets SIGTERM, and SIGKILL
// after grace. A role that was started before PID 1 re-executed itself is waited for,
// not started a second time.
func (p *pid1) runRole(ctx context.Context, name string, grace time.Duration, args ...string) (string, error) {
	child := p.reaper.Named(name)
	if child == nil {
		if p.reaper.Started(name) {
			return "ended, status unknown", nil
		}
		var err error
		if child, err = p.spawn(name, p.env.Console, append([]string{role.Init, name}, args...)...); err != nil {
			return "", err
		}
	}
	if err := p.waitRole(ctx, child, grace); err != nil {
		return "", err
	}
	return "done", nil
}

// waitRole waits for a role to end well. When ctx ends the role is ended.
func (p *pid1) waitRole(ctx context.Context, child *reaper.Child, grace time.Duration) error {
	if _, err := child.Wait(ctx); err != nil {
		p.endGroup(child, grace)
		return fmt.Errorf("%s was ended: %w", child.Name, err)
	}
	if status := child.Status(); !status.Success() {
		return fmt.Errorf("%s %s", child.Name, status)
	}
	return nil
}

// endGroup ends a child and the rest of its process group.
func (p *pid1) endGroup(child *reaper.Child, grace time.Duration) {
	if err := child.Signal(unix.SIGTERM); err != nil {
		p.log.Error("cannot end a role", "role", child.Name, "error", err)
	}
	if !keeper.Within(child.Done(), grace) {
		_ = unix.Kill(-child.Pid, unix.SIGKILL) // Not yet reaped, so the PID cannot belong to another group.
		keeper.Within(child.Done(), keeper.KillGrace)
	}
}

// newKeeper returns the keeper of a daemon. PID 1 handles its panics.
func (p *pid1) newKeeper(name string) *keeper.Keeper {
	start := map[string]func() (keeper.Process, error){nameContainerd: p.startContainerd, nameSupervisor: p.startSupervisor}[name]
	k := keeper.New(name, p.log, start)
	k.OnPanic = func(in string, value any, stack []byte) { p.panicked("keeper of "+in, value, stack) }
	return k
}

// daemon is a child with its own log.
type daemon struct {
	*reaper.Child
	*keeper.Log
}

// descriptorStore returns what keeps descriptors for the next supervisor; nil if it cannot
// be made, which is tried again at the next start.
func (p *pid1) descriptorStore() *fdstore.Pair {
	pair, err := p.ensureDescriptors()
	if err != nil { // Not logged with the lock: the console may need it.
		p.log.Error("the supervisor cannot keep sockets of services", "error", err)
	}
	return pair
}

func (p *pid1) ensureDescriptors() (*fdstore.Pair, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.descriptors == nil {
		p.descriptors, err = fdstore.NewPair()
	}
	return p.descriptors, err
}

// keepDescriptors sets whether execve(2) leaves the descriptor store open, and returns its
// descriptors.
func (p *pid1) keepDescriptors(keep bool) ([]int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.descriptors.Numbers(), p.descriptors.KeepOpen(keep)
}

func (p *pid1) startSupervisor() (keeper.Process, error) {
	begins := p.trial.Follow()
	child, err := p.spawn(nameSupervisor, p.env.Console, paths.Service, "supervise")
	p.trial.Begin(begins)
	if err != nil {
		return nil, err // Not child: an interface with a nil child is not nil.
	}
	return child, nil
}

// newTrialWatch returns what follows trials of keelson's own programs.
func (p *pid1) newTrialWatch() *trial.Watch {
	return trial.New(trial.System{
		Path: paths.ProgramsTrial, Log: p.log, ShuttingDown: p.signals.requested,
		Serve: p.serve, Restore: p.restorePrograms,
		KillContainerd: func() { p.killDaemon(nameContainerd) },
		KillSupervisor: func() { p.killDaemon(nameSupervisor) },
	}, p.summary().Trial)
}

// restorePrograms runs the role that ends a trial, or waits for the one that was started
// before PID 1 re-executed itself. There may be several trials, one after another.
func (p *pid1) restorePrograms(ctx context.Context, why string) error {
	child := p.reaper.Named(role.Programs)
	if child == nil {
		var err error
		if child, err = p.spawn(role.Programs, p.env.Console, role.Init, role.Programs, "undo", why); err != nil {
			return err
		}
	}
	return p.waitRole(ctx, child, keeper.KillGrace)
}

// killDaemon kills a daemon, for its keeper to start it again.
func (p *pid1) killDaemon(name string) {
	if child := p.reaper.Named(name); child != nil {
		if err := child.Signal(unix.SIGKILL); err != nil {
			p.log.Error("cannot end a program", "program", name, "error", err)
		}
	}
}
