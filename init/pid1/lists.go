package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/boot"
	"keelson/init/cmdline"
	"keelson/init/step"
	"keelson/mounts"
	"keelson/runtime/bundle"
	"keelson/runtime/timeline"
)

const (
	roleGrace       = 10 * time.Second // for a role told to end, before SIGKILL
	onshutdownLimit = 60 * time.Second
	filesLimit      = 60 * time.Second
	containerdGrace = 2 * time.Second
	termGrace       = 3 * time.Second
	killRound       = 500 * time.Millisecond
	flushLimit      = 2 * time.Second
	unmountLimit    = 30 * time.Second
	syncLimit       = 30 * time.Second
)

// Keys of steps (see key).
const (
	stepBoot  = "boot"
	stepLate  = "late"
	stepFiles = timeline.Mounts + " files"
)

// earlyList is done before there is a console. Who cannot do the Fatal ones
// cannot run a single program.
func (p *pid1) earlyList(sink step.Sink) []step.Step {
	const stage = timeline.Mounts
	return []step.Step{
		{Stage: stage, Name: "essential", Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
			return "", mounts.Apply(mounts.Essential())
		}},
		rootStep(sink, "root"),
		{Stage: stage, Name: "initramfs", Quiet: true, On: step.Fatal, Do: leaveInitramfs},
		{Stage: stage, Name: "look", Quiet: true, Do: p.lookAtCovered},
		{Stage: stage, Do: mountCore},
		{Stage: stage, Name: "writable", Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
			return "", checkWritable("/run", "/var")
		}},
	}
}

// rootStep checks that the initramfs is whole. A warning is an event of its own.
func rootStep(sink step.Sink, name string) step.Step {
	return step.Step{Stage: timeline.Mounts, Name: name, Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
		warning, err := checkRoot()
		if warning != "" {
			sink.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Mounts, Name: name, Result: "warning: " + warning})
		}
		return "", err
	}}
}

func legacyCgroups() bool {
	line, err := cmdline.Read()
	value, given := line.Last("linuxkit.unified_cgroup_hierarchy")
	return err == nil && given && value == "0"
}

// upList brings the system up; each step's failure leaves a system that can
// still be looked at and shut down.
func (p *pid1) upList() []step.Step {
	var kernel []step.Step
	if p.place.machine {
		kernel = []step.Step{
			{Stage: "hugepages", Quiet: true, Do: func(context.Context) (string, error) { return "", limitHugePages(p.line) }},
			{Stage: "rcu", Quiet: true, Do: func(context.Context) (string, error) { return "", expedite(expeditedRCU, true) }},
			{Stage: "kmsg", Quiet: true, Do: func(context.Context) (string, error) { return "", openKernelLog() }},
			{Stage: "limits", Name: "shared", Quiet: true, Do: func(context.Context) (string, error) { return "", p.raiseShared() }},
			{Stage: "ctrl-alt-del", Quiet: true, Do: func(context.Context) (string, error) { return "", catchCtrlAltDel() }},
		}
	}
	list := append(kernel, []step.Step{
		{Stage: "limits", Quiet: true, Do: func(context.Context) (string, error) { return "", raiseLimits() }},
		{Stage: "memory", Name: "protection", Quiet: true, Do: func(context.Context) (string, error) { return "", protect() }},
		{Stage: timeline.Mounts, Name: "files", Quiet: true, Do: p.restoreCovered}, // containerd may need some.
		{Stage: timeline.Containerd, Name: "start", Quiet: true, Do: func(context.Context) (string, error) {
			return "", p.containerdEarly()
		}},
		{Stage: stepBoot, Do: func(ctx context.Context) (string, error) { return p.upRole(ctx, roleBoot) }},
		{Stage: timeline.Containerd, Name: "restart", Quiet: true, Do: func(ctx context.Context) (string, error) {
			return "", p.containerdAfterBoot(ctx)
		}},
		{Stage: timeline.Degraded, Quiet: true, Do: func(ctx context.Context) (string, error) { return "", p.keepSupervisor(ctx) }},
	}...)
	if p.place.machine {
		list = append(list, step.Step{Stage: "rcu", Quiet: true, Do: p.expediteUp})
	}
	return append(list, step.Step{Stage: stepLate, Quiet: true, Do: p.late})
}

// openKernelLog lifts the limit of ten lines in five seconds for each writer
// (admin-guide/sysctl/kernel.rst, printk_devkmsg), which would tear holes into
// the account of a boot. What printk.devkmsg= says on the command line stays:
// the kernel then refuses to change it (EINVAL).
func openKernelLog() error {
	err := os.WriteFile("/proc/sys/kernel/printk_devkmsg", []byte("on\n"), 0)
	if err == nil || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return fmt.Errorf("cannot lift the limit of /dev/kmsg: %w", err)
}

// catchCtrlAltDel turns the keys into SIGINT for us instead of a reset.
func catchCtrlAltDel() error {
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
	if err != nil {
		return fmt.Errorf("cannot catch ctrl-alt-del: %w", err)
	}
	return nil
}

// keepSupervisor starts the supervisor unless the system goes down already.
func (p *pid1) keepSupervisor(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	if _, err := os.Stat(supervisorPath); err != nil {
		return fmt.Errorf("cannot supervise services: %w", err)
	}
	if p.keepers.get(nameSupervisor) == nil {
		p.keepers.add(p.newKeeper(nameSupervisor))
	}
	return nil
}

// late runs the scripts that come after the services, if there are any.
func (p *pid1) late(ctx context.Context) (string, error) {
	if ctx.Err() != nil || !boot.HasLate() {
		return "", nil
	}
	return p.upRole(ctx, roleLate)
}

// upRole runs a role of the way up. That it was ended on the way down is no
// failure; what it was at tells.
func (p *pid1) upRole(ctx context.Context, role string) (string, error) {
	result, err := p.runRole(ctx, role, roleGrace)
	if ctx.Err() != nil {
		return "", nil
	}
	return result, err
}

// downList is the way down. Nothing on it can keep the machine up: what does
// not end in time is left behind.
func (p *pid1) downList() []step.Step {
	const stage = timeline.Shutdown
	deadline := p.stopDeadline()
	return []step.Step{
		{Stage: stage, Name: "rcu", Quiet: true, Limit: killGrace, Do: func(context.Context) (string, error) {
			if !p.place.machine {
				return "", nil
			}
			return "", expedite(expeditedRCU, true)
		}},
		{Stage: stage, Name: "onshutdown", Quiet: true, Limit: onshutdownLimit + 2*killGrace, Do: p.onshutdown},
		{Stage: stage, Name: "services", Limit: deadline + 2*killGrace, Do: func(context.Context) (string, error) {
			return p.keepers.get(nameSupervisor).Stop(unix.SIGTERM, deadline), nil
		}},
		{Stage: stage, Name: "containerd", Limit: containerdGrace + 2*killGrace, Do: func(context.Context) (string, error) {
			return p.keepers.get(nameContainerd).Stop(unix.SIGTERM, containerdGrace), nil
		}},
		{Stage: stage, Name: "processes", Limit: termGrace + 2*killGrace, Do: p.killAll},
		{Stage: stage, Name: "swap", Quiet: true, Limit: unmountLimit, Do: func(context.Context) (string, error) {
			if !p.place.machine {
				return "", nil
			}
			return "", mounts.SwapOff()
		}},
		{Stage: stage, Name: "mounts", Limit: unmountLimit, Do: func(context.Context) (string, error) {
			return "unmounted", p.unmount()
		}},
		{Stage: stage, Name: "sync", Quiet: true, Limit: syncLimit, Do: func(context.Context) (string, error) {
			if p.place.machine {
				unix.Sync()
			}
			return "", nil
		}},
	}
}

// onshutdown runs the containers and scripts meant for the way down, if there
// are any.
func (p *pid1) onshutdown(ctx context.Context) (string, error) {
	names, err := bundle.List(bundle.OnshutdownDir)
	if len(names) == 0 && !boot.HasShutdownScripts() {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, onshutdownLimit)
	defer cancel()
	return p.runRole(ctx, roleDown, killGrace)
}

// killAll ends every process but this one and, inside of another system, those
// of the others.
func (p *pid1) killAll(ctx context.Context) (string, error) {
	for _, try := range []struct {
		signal unix.Signal
		grace  time.Duration
		word   string
	}{{unix.SIGTERM, termGrace, "ended"}, {unix.SIGKILL, killGrace, "killed"}} {
		limit, cancel := context.WithTimeout(ctx, try.grace)
		err := p.signalUntilAlone(limit, try.signal)
		cancel()
		if err == nil {
			return try.word, nil
		}
	}
	return "", errors.New("some do not end")
}

func (p *pid1) signalUntilAlone(ctx context.Context, signal unix.Signal) error {
	if p.place.first {
		// ESRCH: there is nobody. Stopped processes take SIGTERM once continued.
		_ = unix.Kill(-1, signal)
		_ = unix.Kill(-1, unix.SIGCONT)
		return p.reaper.WaitAlone(ctx)
	}
	// Who is signalled may have started others before it ended.
	for ctx.Err() == nil {
		err := errors.Join(signalBelow(signal), signalBelow(unix.SIGCONT))
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

// unmount lets go of all disks, and inside of another system of what was
// mounted here.
func (p *pid1) unmount() error {
	switch {
	case p.place.machine:
	case p.place.unknown:
		return errors.New("left mounted: what the outer system had mounted is not known any more")
	default:
		return unmountOwn(p.place.before)
	}
	return mounts.UnmountAll()
}
