package boot

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"keelson/init/consoles"
	"keelson/init/policy"
	"keelson/init/programs"
	"keelson/init/scripts"
	"keelson/init/step"
	"keelson/mounts"
	"keelson/runtime/backoff"
	"keelson/runtime/cmdline"
	"keelson/runtime/console"
	"keelson/runtime/corecgroup"
	"keelson/runtime/oomscore"
	"keelson/runtime/powerbutton"
	"keelson/runtime/timeline"
	"keelson/runtime/userspace"
)

const (
	volumesDir = "/containers/volumes"
	issueFile  = "/etc/issue"
	// buttonDelay is how long the onboot containers run before the power button is
	// watched: most boots are over by then, and opening all input devices takes time.
	buttonDelay = time.Second
	// flushLimit bounds writing the last messages.
	flushLimit = 5 * time.Second
)

// roleContext holds what a role works with.
type roleContext struct {
	env     userspace.Environment
	line    cmdline.Line
	console *console.Console
	log     *slog.Logger
	policy  policy.CommandLine
	links   *links // network devices that are still missing
}

// Up is the boot role. It returns when each step has been tried, or when ctx ends.
func Up(ctx context.Context, env userspace.Environment) error {
	return runRole(env, func(rc roleContext) error {
		var bad []error
		rc.policy, bad = policy.ParseCommandLine(rc.line)
		for _, err := range bad {
			rc.log.Warn("setting ignored", "error", err)
		}
		items, err := scripts.Boot()
		if err != nil {
			rc.log.Error("scripts are not run", "error", err)
		}
		return step.Run(ctx, rc.console, rc.log, up(rc, items))
	})
}

// Down is the shutdown role.
func Down(ctx context.Context, env userspace.Environment) error {
	return runRole(env, func(rc roleContext) error {
		items, err := scripts.Shutdown()
		if err != nil {
			rc.log.Error("scripts are not run", "error", err)
		}
		return step.Run(ctx, rc.console, rc.log, steps(scripts.ShutdownDir, items, map[string][]step.Step{
			scripts.Onshutdown: {{Stage: timeline.Shutdown, Name: "all", Quiet: true, Do: func(ctx context.Context) (string, error) {
				return "", onshutdown(rc).run(ctx)
			}}},
		}, rc.log))
	})
}

// runRole calls f with the command line and a console, and flushes the console at
// the end. Before that, it gives up the protection from the OOM killer that PID 1
// has: what a role starts does not inherit it.
func runRole(env userspace.Environment, f func(roleContext) error) error {
	line, err := cmdline.Read(env)
	c := console.New(consoles.Options(line, env))
	if err != nil {
		c.Logger().Error("the kernel command line is ignored", "error", err)
	}
	if err := oomscore.Renounce(); err != nil {
		c.Logger().Error("the OOM killer spares containers and scripts like init", "error", err)
	}
	if err := corecgroup.Leave(); err != nil {
		c.Logger().Error("scripts have the protected memory of init", "error", err)
	}
	err = f(roleContext{env: env, line: line, console: c, log: c.Logger(), policy: policy.Silent(), links: new(links)})
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	_ = c.Close(ctx) // A failure cannot be reported anywhere.
	return err
}

// up is the boot list, up to the services.
func up(rc roleContext, items []scripts.Item) []step.Step {
	list := ownSteps(rc)
	for i, item := range items {
		if item.Name > scripts.Containerd {
			items = items[:i] // Late runs the rest.
			break
		}
	}
	return append(list, steps(scripts.InitDir, items, map[string][]step.Step{
		scripts.Volumes: {{Stage: timeline.Volumes, Do: func(context.Context) (string, error) { return mountVolumes() }}},
		scripts.Onboot: {{Stage: timeline.Onboot, Name: "all", Quiet: true, Do: func(ctx context.Context) (string, error) {
			return "", watchingPowerButton(ctx, rc, onboot(rc).run)
		}}, {Stage: timeline.Mounts, Name: "/var", Quiet: true, Do: quietly(func() error { return completeVar(rc.env) })},
			{Stage: timeline.Clock, Name: "trace", Quiet: true, Limit: bootsLimit, Do: quietly(func() error {
				if !rc.env.Machine {
					return nil
				}
				return raiseClock(rc.log)
			})},
			{Stage: timeline.Boots, Name: "begin", Quiet: true, Limit: bootsLimit, Do: quietly(func() error { return beginBoot(rc) })},
			{Stage: "programs", Quiet: true, Do: quietly(func() error { return usePrograms(rc) })}},
		scripts.Containerd: {{Stage: "issue", Quiet: true, Do: quietly(func() error { return showIssue(rc.console) })}},
	}, rc.log)...)
}

// ownSteps returns the steps that configure the machine or a namespace. In userspace
// mode, those that would change the outer system are left out.
func ownSteps(rc roleContext) []step.Step {
	var list []step.Step
	if rc.env.Machine {
		list = append(list,
			step.Step{Stage: "hotplug", Quiet: true, Do: quietly(func() error { return beginHotplug(rc) })},
			step.Step{Stage: timeline.Modules, Do: func(ctx context.Context) (string, error) { return loadModules(ctx, rc) }},
			step.Step{Stage: "names", Quiet: true, Do: func(ctx context.Context) (string, error) { return "", makeNames(ctx) }},
			step.Step{Stage: timeline.Clock, Do: func(context.Context) (string, error) { return setClock(rc.log) }})
	}
	if rc.env.Owns(userspace.UTS) {
		list = append(list, step.Step{Stage: timeline.Hostname, Do: func(context.Context) (string, error) { return setHostname() }})
	}
	list = append(list, step.Step{Stage: timeline.Network, Name: "resolv.conf", Quiet: true, Do: quietly(makeResolvConf)})
	if rc.env.Owns(userspace.Network) {
		list = append(list, step.Step{Stage: timeline.Network, Do: func(ctx context.Context) (string, error) { return network(ctx, rc) }})
	}
	return list
}

func quietly(f func() error) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return "", f() }
}

// completeVar creates the folders that services bind in /var, on which an onboot
// container may have mounted a disk. It does not change the /var of an outer system.
func completeVar(env userspace.Environment) error {
	if !env.Machine {
		return nil
	}
	return mounts.CompleteVar()
}

// usePrograms puts the version of keelson's own programs into use that is on a disk which an
// onboot container may have mounted.
func usePrograms(rc roleContext) error {
	what, err := programs.AtBoot(rc.line)
	if what != "" {
		rc.log.Info(what)
	}
	return err
}

func mountVolumes() (string, error) {
	names, err := mounts.Volumes(volumesDir)
	return fmt.Sprintf("%d mounted", len(names)), err
}

// watchingPowerButton runs f and watches the power button meanwhile; after the boot,
// the supervisor does. In userspace mode, the button belongs to the outer system.
func watchingPowerButton(ctx context.Context, rc roleContext, f func(context.Context) error) error {
	if !rc.env.Machine {
		return f(ctx)
	}
	init := findInit()
	watchCtx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		if !backoff.Wait(watchCtx, buttonDelay) {
			return
		}
		err := powerbutton.Watch(watchCtx, "/dev/input", func() {
			rc.log.Info("power button pressed")
			if err := init.request(policy.PowerOff); err != nil {
				rc.log.Error("the power button does not work", "error", err)
			}
		})
		if err != nil {
			rc.log.Error("the power button does not work", "error", err)
		}
	})
	err := f(ctx)
	cancel()
	watch.Wait()
	return err
}

func showIssue(c *console.Console) error {
	text, err := readOptional(issueFile)
	if err != nil {
		return fmt.Errorf("cannot show %s: %w", issueFile, err)
	}
	if len(text) > 0 {
		c.Raw(text)
	}
	return nil
}
