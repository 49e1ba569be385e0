package pid1

import (
	"context"
	"errors"
	"fmt"
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
	"keelson/runtime/paths"
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

// fatal reports that the system cannot boot and does what the kernel does in a panic:
// reboot immediately, after panic= seconds, or not at all.
func (p *pid1) fatal() action {
	if s := p.summary(); s.LastStep == "" { // It is logged once.
		p.note(func(s *state) { s.LastStep = listEnd })
		p.console.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Fatal, Result: s.Fatal})
	}
	if !p.env.Machine {
		return halt
	}
	_ = kernel.RebootAfterPanic(p.line) // If it fails, the machine waits.
	seconds := kernel.PanicTimeout()
	switch {
	case seconds < 0:
		return reboot
	case seconds == 0:
		p.log.Error("stopped: waiting to be halted, powered off or rebooted")
		<-p.signals.requested
		return p.signals.chosen()
	}
	p.log.Error("rebooting", "in", time.Duration(seconds)*time.Second)
	wait := time.NewTimer(time.Duration(seconds) * time.Second)
	defer wait.Stop()
	select {
	case <-wait.C:
		return reboot
	case <-p.signals.requested:
		return p.signals.chosen()
	}
}

// shutdown shuts the system down. In userspace mode it returns the exit status.
func (p *pid1) shutdown(a action) (code int) {
	if p.summary().Phase != phaseDown {
		p.note(func(s *state) { s.Phase, s.LastStep, s.LastStepDone = phaseDown, "", false })
		a, _ = p.signals.request(a) // Later signals change nothing.
		p.console.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Shutdown, Result: a.name})
	}
	p.keepers.Close()
	_ = kernel.RaiseLimits(p.env.Machine, p.line) // Unmounting needs file descriptors.
	p.walk(context.Background(), phaseDown, p.shutdownList())
	end := a
	if p.env.Machine && a == powerOff {
		reset, why := kernel.ResetForPowerOff(p.line)
		if why != "" {
			p.log.Warn(why)
		}
		if reset {
			end = reboot
		}
	}
	p.watchdog.Close(end == reboot)
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	_ = p.console.Close(ctx) // A stuck console must not prevent the shutdown.
	cancel()
	switch {
	case p.env.Machine:
		err := kernel.Reboot(end.command, a == reboot)
		kernel.Log([]string{fmt.Sprintf("cannot %s: %v", end.name, err)})
		select {} // PID 1 must not end.
	case p.summary().Fatal != "":
		return codeFatal
	case a == reboot:
		return codeReboot
	}
	return codeDone
}

// shutdownList returns the steps of the shutdown. No step can prevent it: a step that
// exceeds its limit is abandoned.
func (p *pid1) shutdownList() []step.Step {
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

// killAll ends all other processes; in userspace mode, only descendants of this one.
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
		// ESRCH means that there is no process. A stopped process handles SIGTERM only
		// after SIGCONT.
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

// unmount unmounts all disks; in userspace mode, only the mounts of this system.
func (p *pid1) unmount() error {
	if p.env.Machine {
		return mounts.UnmountAll()
	}
	return p.env.Unmount()
}

// stopDeadline reads the deadline of the services. It does not wait for a file system
// that hangs.
func (p *pid1) stopDeadline() time.Duration {
	read := make(chan time.Duration, 1)
	p.serve("stop deadline", func() { read <- readStopDeadline(paths.State + "/stop-deadline") })
	limit := time.NewTimer(readLimit)
	defer limit.Stop()
	select {
	case d := <-read:
		return d
	case <-limit.C:
		return stopDefault
	}
}

// readStopDeadline returns how long the supervisor may need to stop all services. A
// FIFO in place of the file does not block it.
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
