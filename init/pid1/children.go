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
	if errors.Is(err, unix.EMFILE) && kernel.RaiseLimits(p.env.Machine) == nil {
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

// consoleFile opens the console for output that children write directly, such as the
// trace of a panic. In userspace mode, that is standard output; without a console, it
// is /dev/null.
func (p *pid1) consoleFile() (*os.File, error) {
	if !p.env.Machine {
		fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return os.OpenFile("/dev/null", os.O_WRONLY, 0)
		}
		return os.NewFile(uintptr(fd), "stdout"), nil
	}
	// O_NONBLOCK: opening a serial line may otherwise wait for its carrier.
	fd, err := unix.Open("/dev/console", unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.OpenFile("/dev/null", os.O_WRONLY, 0)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "/dev/console"), nil
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
		if child, err = p.spawn(name, p.consoleFile, append([]string{role.Init, name}, args...)...); err != nil {
			return "", err
		}
	}
	if _, err := child.Wait(ctx); err != nil {
		p.endGroup(child, grace)
		return "", fmt.Errorf("%s was ended: %w", name, err)
	}
	if status := child.Status(); !status.Success() {
		return "", fmt.Errorf("%s %s", name, status)
	}
	return "done", nil
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

// startContainerd starts containerd. If the image has settings for it, the supervisor's
// program reads them and then executes containerd.
func (p *pid1) startContainerd() (keeper.Process, error) {
	d := &daemon{Log: &keeper.Log{Path: paths.ContainerdLog}}
	output, args := func() (*os.File, error) {
		out, err := d.Open()
		if err != nil {
			return p.consoleFile()
		}
		return out, nil
	}, []string{paths.Containerd}
	if _, err := os.Stat(containerdSettings); err == nil {
		output, args = p.consoleFile, []string{paths.Service, "containerd"}
		d.Mark()
	}
	var err error
	if d.Child, err = p.spawn(nameContainerd, output, args...); err != nil {
		return nil, err // Not d: an interface with a nil daemon is not nil.
	}
	return d, nil
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
	begins := p.followTrial()
	child, err := p.spawn(nameSupervisor, p.consoleFile, paths.Service, "supervise")
	p.beginTrial(begins)
	if err != nil {
		return nil, err // Not child: an interface with a nil child is not nil.
	}
	return child, nil
}
