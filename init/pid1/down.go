package pid1

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/pid1/environment"
	"keelson/init/pid1/keeper"
	"keelson/init/pid1/kernel"
	"keelson/init/role"
	"keelson/init/scripts"
	"keelson/init/step"
	"keelson/mounts"
	"keelson/runtime/bundle"
	"keelson/runtime/timeline"
)

const (
	onshutdownLimit = 60 * time.Second
	containerdGrace = 2 * time.Second
	termGrace       = 3 * time.Second
	killRound       = 500 * time.Millisecond
	flushLimit      = 2 * time.Second
	unmountLimit    = 30 * time.Second
	syncLimit       = 30 * time.Second

	stopDefault = 20 * time.Second
	stopMax     = 10 * time.Minute
	readLimit   = time.Second
)

// downList is the way down. No step can keep the machine up: one that exceeds its
// limit is abandoned.
func (p *pid1) downList() []step.Step {
	const stage = timeline.Shutdown
	deadline := p.stopDeadline()
	return []step.Step{
		{Stage: stage, Name: "rcu", Quiet: true, Limit: keeper.KillGrace, Do: func(context.Context) (string, error) {
			if !p.env.Machine {
				return "", nil
			}
			return "", kernel.ExpediteRCU(true)
		}},
		{Stage: stage, Name: "onshutdown", Quiet: true, Limit: onshutdownLimit + 2*keeper.KillGrace, Do: p.onshutdown},
		{Stage: stage, Name: "services", Limit: deadline + 2*keeper.KillGrace, Do: func(context.Context) (string, error) {
			return p.keepers.Get(nameSupervisor).Stop(unix.SIGTERM, deadline), nil
		}},
		{Stage: stage, Name: "containerd", Limit: containerdGrace + 2*keeper.KillGrace, Do: func(context.Context) (string, error) {
			return p.keepers.Get(nameContainerd).Stop(unix.SIGTERM, containerdGrace), nil
		}},
		{Stage: stage, Name: "processes", Limit: termGrace + 2*keeper.KillGrace, Do: p.killAll},
		{Stage: stage, Name: "swap", Quiet: true, Limit: unmountLimit, Do: func(context.Context) (string, error) {
			if !p.env.Machine {
				return "", nil
			}
			return "", mounts.SwapOff()
		}},
		{Stage: stage, Name: "mounts", Limit: unmountLimit, Do: func(context.Context) (string, error) {
			return "unmounted", p.unmount()
		}},
		{Stage: stage, Name: "sync", Quiet: true, Limit: syncLimit, Do: func(context.Context) (string, error) {
			if p.env.Machine {
				unix.Sync()
			}
			return "", nil
		}},
	}
}

// onshutdown runs the onshutdown containers and scripts, if there are any.
func (p *pid1) onshutdown(ctx context.Context) (string, error) {
	names, err := bundle.List(bundle.OnshutdownDir)
	if len(names) == 0 && !scripts.HasShutdown() {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, onshutdownLimit)
	defer cancel()
	return p.runRole(ctx, role.Shutdown, keeper.KillGrace)
}

// killAll ends every process but this one, inside another system only those that
// descend from this one.
func (p *pid1) killAll(ctx context.Context) (string, error) {
	for _, try := range []struct {
		signal unix.Signal
		grace  time.Duration
		word   string
	}{{unix.SIGTERM, termGrace, "ended"}, {unix.SIGKILL, keeper.KillGrace, "killed"}} {
		limit, cancel := context.WithTimeout(ctx, try.grace)
		err := p.signalUntilAlone(limit, try.signal)
		cancel()
		if err == nil {
			return try.word, nil
		}
	}
	return "", errors.New("some processes do not end")
}

func (p *pid1) signalUntilAlone(ctx context.Context, signal unix.Signal) error {
	if p.env.First {
		// ESRCH: there is none. Stopped processes take SIGTERM once continued.
		_ = unix.Kill(-1, signal)
		_ = unix.Kill(-1, unix.SIGCONT)
		return p.reaper.WaitAlone(ctx)
	}
	// A process may start others before it ends.
	for ctx.Err() == nil {
		err := errors.Join(environment.SignalDescendants(signal), environment.SignalDescendants(unix.SIGCONT))
		if err != nil {
			return err
		}
		round, cancel := context.WithTimeout(ctx, killRound)
		err = p.reaper.WaitAlone(round)
		cancel()
		if err == nil {
			return nil
		}
	}
	return ctx.Err()
}

// unmount unmounts all disks, inside another system what was mounted here.
func (p *pid1) unmount() error {
	if p.env.Machine {
		return mounts.UnmountAll()
	}
	return p.env.Unmount()
}

// stopDeadline reads the deadline of the services, but does not wait for a file
// system that hangs.
func (p *pid1) stopDeadline() time.Duration {
	said := make(chan time.Duration, 1)
	p.serve("stop deadline", func() { said <- readStopDeadline(stateDir + "/stop-deadline") })
	limit := time.NewTimer(readLimit)
	defer limit.Stop()
	select {
	case d := <-said:
		return d
	case <-limit.C:
		return stopDefault
	}
}

// readStopDeadline returns how long the supervisor may need to stop all services. A
// FIFO in place of the file is not waited for.
func readStopDeadline(path string) time.Duration {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return stopDefault
	}
	defer unix.Close(fd)
	text := make([]byte, 64)
	n, err := unix.Read(fd, text)
	d, parseErr := time.ParseDuration(strings.TrimSpace(string(text[:max(n, 0)])))
	if err != nil || parseErr != nil || d <= 0 {
		return stopDefault
	}
	return min(d, stopMax)
}
