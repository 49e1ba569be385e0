package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/covered"
	"keelson/init/pid1/initramfs"
	"keelson/init/pid1/kernel"
	"keelson/init/ready"
	"keelson/init/role"
	"keelson/init/scripts"
	"keelson/init/step"
	"keelson/mounts"
	"keelson/runtime/cmdline"
	"keelson/runtime/paths"
	"keelson/runtime/timeline"
	"keelson/runtime/userspace"
)

const (
	roleGrace  = 10 * time.Second // between SIGTERM and SIGKILL for a role
	filesLimit = 60 * time.Second
)

// Keys of steps (see key).
const (
	stepBoot  = role.Boot
	stepLate  = role.Late
	stepFiles = timeline.Mounts + " files"
)

// earlyList runs before there is a console. If a Fatal step fails, no program can run.
func (p *pid1) earlyList(sink step.Sink) []step.Step {
	const stage = timeline.Mounts
	return []step.Step{
		{Stage: stage, Name: "essential", Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
			return "", mounts.Apply(mounts.Essential())
		}},
		rootStep(sink, "root"),
		{Stage: stage, Name: "initramfs", Quiet: true, On: step.Fatal, Do: leaveInitramfs},
		{Stage: stage, Name: "look", Quiet: true, Do: p.findCovered},
		{Stage: stage, Do: p.mountCore},
		{Stage: stage, Name: "writable", Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
			return "", checkWritable("/run", "/var")
		}},
	}
}

// userspaceList replaces earlyList in userspace mode.
func (p *pid1) userspaceList() []step.Step {
	const stage = timeline.Mounts
	return []step.Step{
		{Stage: stage, Name: "subreaper", Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
			return "", p.env.AdoptOrphans()
		}},
		{Stage: stage, Name: "look", Quiet: true, Do: p.findCovered},
		{Stage: stage, Do: func(context.Context) (string, error) { return "", p.env.MountMissing() }},
		{Stage: stage, Name: "writable", Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
			return "", checkWritable("/run", "/var")
		}},
	}
}

// switchrootList replaces earlyList in an initramfs that only mounts a root on a disk.
func switchrootList(sink step.Sink) []step.Step {
	const stage = timeline.Mounts
	return []step.Step{
		{Stage: stage, Name: "essential", Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
			return "", mounts.Apply(mounts.Essential())
		}},
		rootStep(sink, "initramfs"),
	}
}

// rootStep checks that the initramfs is complete. A warning is an event of its own.
func rootStep(sink step.Sink, name string) step.Step {
	return step.Step{Stage: timeline.Mounts, Name: name, Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
		warning, err := initramfs.Check()
		if warning != "" {
			sink.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Mounts, Name: name, Result: "warning: " + warning})
		}
		return "", err
	}}
}

// bootList returns the steps of the boot. Whichever of them fails, the system can still
// be inspected and shut down.
func (p *pid1) bootList() []step.Step {
	var list []step.Step
	if p.env.Machine {
		list = []step.Step{
			{Stage: "hugepages", Quiet: true, Do: func(context.Context) (string, error) { return "", kernel.LimitHugePages(p.line) }},
			{Stage: "rcu", Quiet: true, Do: func(context.Context) (string, error) { return "", kernel.ExpediteRCU(true) }},
			{Stage: "kmsg", Quiet: true, Do: func(context.Context) (string, error) { return "", kernel.UnlimitLog() }},
			{Stage: "limits", Name: "shared", Quiet: true, Do: func(context.Context) (string, error) { return "", kernel.RaiseSharedLimits(p.line) }},
			{Stage: "panic", Quiet: true, Do: func(context.Context) (string, error) { return "", kernel.RebootAfterPanic(p.line) }},
			{Stage: "ctrl-alt-del", Quiet: true, Do: func(context.Context) (string, error) { return "", kernel.CatchCtrlAltDel() }},
		}
	}
	list = append(list, []step.Step{
		{Stage: "hugepages", Name: "own", Quiet: true, Do: func(context.Context) (string, error) { return "", kernel.AllowHugePages() }},
		{Stage: "limits", Quiet: true, Do: func(context.Context) (string, error) { return "", kernel.SetLimits(p.env.Machine, p.line) }},
		{Stage: "memory", Name: "protection", Quiet: true, Do: func(context.Context) (string, error) { return "", kernel.Protect(p.env.Machine, p.line) }},
		{Stage: timeline.Mounts, Name: "files", Quiet: true, Do: p.restoreCovered}, // containerd may need some.
		{Stage: timeline.Containerd, Name: "start", Quiet: true, Do: func(context.Context) (string, error) {
			return "", p.containerdEarly()
		}},
		{Stage: stepBoot, Do: func(ctx context.Context) (string, error) { return p.bootRole(ctx, role.Boot) }},
		{Stage: timeline.Containerd, Name: "restart", Quiet: true, Do: func(ctx context.Context) (string, error) {
			return "", p.containerdAfterBoot(ctx)
		}},
		{Stage: timeline.Degraded, Quiet: true, Do: func(ctx context.Context) (string, error) { return "", p.keepSupervisor(ctx) }},
	}...)
	if p.env.Machine {
		list = append(list, step.Step{Stage: "rcu", Quiet: true, Do: p.endExpeditedRCU})
	}
	return append(list, step.Step{Stage: stepLate, Quiet: true, Do: p.late})
}

// keepSupervisor starts the supervisor unless the system is shutting down.
func (p *pid1) keepSupervisor(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	if _, err := os.Stat(paths.Service); err != nil {
		return fmt.Errorf("cannot supervise services: %w", err)
	}
	if p.keepers.Get(nameSupervisor) == nil {
		p.keepers.Add(p.newKeeper(nameSupervisor))
	}
	return nil
}

// late runs the scripts that are ordered after the services, if there are any.
func (p *pid1) late(ctx context.Context) (string, error) {
	if ctx.Err() != nil || !scripts.HasLate() {
		return "", nil
	}
	return p.bootRole(ctx, role.Late)
}

// bootRole runs a role of the boot. It is not a failure if the shutdown ends the role:
// the interrupted step has an event of its own.
func (p *pid1) bootRole(ctx context.Context, name string) (string, error) {
	result, err := p.runRole(ctx, name, roleGrace)
	if ctx.Err() != nil {
		return "", nil
	}
	return result, err
}

// mountCore mounts the core table, then makes the root read-only.
func (p *pid1) mountCore(context.Context) (string, error) {
	err := errors.Join(mounts.Apply(mounts.Core()), mounts.Cgroups(legacyCgroups(p.env.Environment)))
	return "", errors.Join(err, mounts.SealRoot())
}

// checkWritable checks that folders are writable, which all programs depend on. It fails
// on a read-only root without the mount points.
func checkWritable(dirs ...string) error {
	var errs []error
	for _, dir := range dirs {
		err := unix.Access(dir, unix.W_OK)
		if err == nil {
			continue
		}
		err = fmt.Errorf("cannot write in %s: %w", dir, err)
		if errors.Is(err, unix.ENOENT) {
			err = fmt.Errorf("%w: the root is read-only and has no such folder to mount on; make an empty %s part of the image", err, dir)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func leaveInitramfs(context.Context) (string, error) {
	_, err := mounts.LeaveInitramfs()
	return "", err
}

// legacyCgroups reports whether the command line asks for cgroups of version 1.
func legacyCgroups(env userspace.Environment) bool {
	line, err := cmdline.Read(env)
	value, given := line.Last("linuxkit.unified_cgroup_hierarchy")
	return err == nil && given && value == "0"
}

// findCovered records the folders in which mounts will cover files of the image. It
// reads only names, and runs before these mounts. On a machine, an initramfs may have
// mounted some folders already. Nothing is copied to mounts of an outer system.
func (p *pid1) findCovered(context.Context) (string, error) {
	dirs := covered.Find(covered.Folders(), p.env.Machine)
	p.note(func(s *state) { s.Covered = dirs })
	return "", nil
}

// restoreCovered runs the role that copies these files onto the mounts, for at most
// filesLimit. Without such files, it starts nothing.
func (p *pid1) restoreCovered(ctx context.Context) (string, error) {
	dirs := p.summary().Covered
	if len(dirs) == 0 {
		return "", nil
	}
	limited, cancel := context.WithTimeout(ctx, filesLimit)
	defer cancel()
	_, err := p.runRole(limited, role.Files, roleGrace, dirs...)
	if ctx.Err() != nil { // The system is shutting down.
		return "", nil
	}
	return "", err
}

// endExpeditedRCU ends expedited grace periods once the services have started.
func (p *pid1) endExpeditedRCU(ctx context.Context) (string, error) {
	p.serve("rcu", func() {
		_ = ready.Wait(ctx) // On a timeout, the services have had enough time.
		if ctx.Err() != nil {
			return // The system is shutting down.
		}
		if err := kernel.ExpediteRCU(false); err != nil {
			p.log.Error("cannot reset expedited RCU grace periods", "error", err)
		}
	})
	return "", nil
}
