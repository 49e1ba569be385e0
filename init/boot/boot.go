package boot

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"keelson/init/cmdline"
	"keelson/init/consoles"
	"keelson/init/policy"
	"keelson/init/scripts"
	"keelson/init/step"
	"keelson/mounts"
	"keelson/runtime/backoff"
	"keelson/runtime/console"
	"keelson/runtime/oomscore"
	"keelson/runtime/powerbutton"
	"keelson/runtime/timeline"
	"keelson/runtime/userspace"
)

const (
	volumesDir = "/containers/volumes"
	issueFile  = "/etc/issue"
	// buttonDelay is how long a boot takes at least that heeds the power button:
	// most are over before, and opening all input devices has its price.
	buttonDelay = time.Second
	// flushLimit is how long the last messages may take to get out.
	flushLimit = 5 * time.Second
)

// world is what a role works with.
type world struct {
	env     userspace.Environment
	line    cmdline.Line
	console *console.Console
	log     *slog.Logger
	policy  policy.CommandLine
	links   *links // that are waited for
}

// Up is the boot role. It returns when everything has been tried, or early
// when ctx ends.
func Up(ctx context.Context, env userspace.Environment) error {
	return with(env, func(w world) error {
		var bad []error
		w.policy, bad = policy.ParseCommandLine(w.line)
		for _, err := range bad {
			w.log.Warn("setting ignored", "error", err)
		}
		items, err := scripts.Boot()
		if err != nil {
			w.log.Error("going on without scripts", "error", err)
		}
		return step.Run(ctx, w.console, w.log, up(w, items))
	})
}

// Down is the shutdown role.
func Down(ctx context.Context, env userspace.Environment) error {
	return with(env, func(w world) error {
		items, err := scripts.Shutdown()
		if err != nil {
			w.log.Error("going on without scripts", "error", err)
		}
		return step.Run(ctx, w.console, w.log, among(scripts.ShutdownDir, items, map[string][]step.Step{
			scripts.Onshutdown: {{Stage: timeline.Shutdown, Name: "all", Quiet: true, Do: func(ctx context.Context) (string, error) {
				return "", onshutdown(w).run(ctx)
			}}},
		}, w.log))
	})
}

// with gives f the command line and a console, and flushes that in the end.
// What a role starts is as good a victim as any when memory is short.
func with(env userspace.Environment, f func(world) error) error {
	line, err := cmdline.Read(env)
	c := console.New(consoles.Options(line, env))
	if err != nil {
		c.Logger().Error("going on without a command line", "error", err)
	}
	if err := oomscore.Renounce(); err != nil {
		c.Logger().Error("containers and scripts are protected like init", "error", err)
	}
	err = f(world{env: env, line: line, console: c, log: c.Logger(), policy: policy.Silent(), links: new(links)})
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	_ = c.Close(ctx) // There is nowhere left to tell of it.
	return err
}

// up is the boot list, up to the services.
func up(w world, items []scripts.Item) []step.Step {
	list := own(w)
	for i, item := range items {
		if item.Name > scripts.Containerd {
			items = items[:i] // Those are for Late.
			break
		}
	}
	return append(list, among(scripts.InitDir, items, map[string][]step.Step{
		scripts.Volumes: {{Stage: timeline.Volumes, Do: func(context.Context) (string, error) { return mountVolumes() }}},
		scripts.Onboot: {{Stage: timeline.Onboot, Name: "all", Quiet: true, Do: func(ctx context.Context) (string, error) {
			return "", withPowerButton(ctx, w, onboot(w).run)
		}}, {Stage: timeline.Mounts, Name: "/var", Quiet: true, Do: quietly(func() error { return completeVar(w.env) })}},
		scripts.Containerd: {{Stage: "issue", Quiet: true, Do: quietly(func() error { return showIssue(w.console) })}},
	}, w.log)...)
}

// own are the steps about what may be an outer system's.
func own(w world) []step.Step {
	var list []step.Step
	if w.env.Machine {
		list = append(list,
			step.Step{Stage: "hotplug", Quiet: true, Do: quietly(func() error { return beginHotplug(w) })},
			step.Step{Stage: timeline.Modules, Do: func(ctx context.Context) (string, error) { return loadModules(ctx, w) }},
			step.Step{Stage: timeline.Clock, Do: func(context.Context) (string, error) { return setClock(w.log) }})
	}
	if w.env.Owns(userspace.UTS) {
		list = append(list, step.Step{Stage: timeline.Hostname, Do: func(context.Context) (string, error) { return setHostname() }})
	}
	list = append(list, step.Step{Stage: timeline.Network, Name: "resolv.conf", Quiet: true, Do: quietly(makeResolvConf)})
	if w.env.Owns(userspace.Network) {
		list = append(list, step.Step{Stage: timeline.Network, Do: func(ctx context.Context) (string, error) { return network(ctx, w) }})
	}
	return list
}

func quietly(f func() error) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return "", f() }
}

// completeVar adds to a disk that an onboot container has mounted on /var the
// folders that services bind. A /var of an outer system stays as it is.
func completeVar(env userspace.Environment) error {
	if !env.Machine {
		return nil
	}
	return mounts.CompleteVar()
}

func mountVolumes() (string, error) {
	names, err := mounts.Volumes(volumesDir)
	return fmt.Sprintf("%d mounted", len(names)), err
}

// withPowerButton heeds it while f runs; then the supervisor will. Inside of
// another system it is that one's.
func withPowerButton(ctx context.Context, w world, f func(context.Context) error) error {
	if !w.env.Machine {
		return f(ctx)
	}
	init := findParent()
	side, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		if !backoff.Wait(side, buttonDelay) {
			return
		}
		err := powerbutton.Watch(side, "/dev/input", func() {
			w.log.Info("power button pressed")
			if err := init.ask(policy.PowerOff); err != nil {
				w.log.Error("the power button does not work", "error", err)
			}
		})
		if err != nil {
			w.log.Error("the power button does not work", "error", err)
		}
	})
	err := f(ctx)
	cancel()
	watch.Wait()
	return err
}

func showIssue(c *console.Console) error {
	text, err := readSmall(issueFile)
	if err != nil {
		return fmt.Errorf("cannot show the greeting: %w", err)
	}
	if len(text) > 0 {
		c.Raw(text)
	}
	return nil
}
