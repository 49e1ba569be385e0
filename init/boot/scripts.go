package boot

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/scripts"
	"keelson/init/step"
	"keelson/runtime/timeline"
	"keelson/runtime/watch"
)

const (
	// stageScript is that of events about scripts.
	stageScript = "script"
	// servicesLimit is how long others wait for the services to be started.
	servicesLimit = 60 * time.Second
)

// announced are the files that say that the services have been started.
var announced = []string{stateDir + "/state/." + timeline.Ready, stateDir + "/state/." + timeline.Degraded}

// upScripts are those of the way up. What cannot be listed has none.
func upScripts() ([]scripts.Item, error) {
	return plan(scripts.InitDir, scripts.Volumes, scripts.Onboot, scripts.Containerd)
}

func plan(dir string, steps ...string) ([]scripts.Item, error) {
	entries, err := scripts.Read(dir)
	return scripts.Plan(entries, steps...), err
}

// HasLate tells whether there are scripts to be run once the services have
// been started.
func HasLate() bool {
	items, err := upScripts()
	return err == nil && scripts.After(items, scripts.Containerd)
}

// HasShutdownScripts tells whether there are scripts for the way down.
func HasShutdownScripts() bool {
	items, err := plan(scripts.ShutdownDir)
	return err == nil && len(items) > 0
}

// among makes steps of items: own ones of those that stand for init's.
func among(dir string, items []scripts.Item, own map[string][]step.Step, log *slog.Logger) []step.Step {
	var list []step.Step
	for _, item := range items {
		if item.Kind == scripts.Step {
			list = append(list, own[item.Name]...)
			continue
		}
		list = append(list, script(dir, item, log))
	}
	return list
}

// script is the step of one.
func script(dir string, item scripts.Item, log *slog.Logger) step.Step {
	path := filepath.Join(dir, item.Name)
	return step.Step{Stage: stageScript, Name: filepath.Join(filepath.Base(dir), item.Name), Do: func(ctx context.Context) (string, error) {
		if item.Kind == scripts.Unusable {
			return "", errors.New("not run: not executable")
		}
		return scripts.Run(ctx, path, scripts.Patience, func() {
			log.Warn("a script still runs and holds up the rest", "script", path, "after", scripts.Patience)
		})
	}}
}

// Late is the role that runs the scripts behind the services.
func Late(ctx context.Context) error {
	return with(func(w world) error {
		items, err := upScripts()
		if err != nil {
			return err
		}
		for len(items) > 0 && items[0].Name <= scripts.Containerd {
			items = items[1:]
		}
		err = WaitForServices(ctx)
		if err != nil && ctx.Err() == nil {
			w.log.Warn("the services are not all started; scripts go on without them", "error", err)
		}
		return step.Run(ctx, w.console, w.log, among(scripts.InitDir, items, nil, w.log))
	})
}

// WaitForServices returns when the services have been started, or have failed
// to. It waits for a minute at most.
func WaitForServices(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, servicesLimit)
	defer cancel()
	return waitForAny(ctx, announced)
}

// waitForAny returns when one of paths, all in one folder, exists. It sleeps on
// inotify(7), on the nearest folder above that exists.
func waitForAny(ctx context.Context, paths []string) error {
	events, err := watch.New()
	if err != nil {
		return err
	}
	defer events.Close()
	defer context.AfterFunc(ctx, func() { events.Close() })()
	for buffer := make([]byte, 4096); ; {
		for dir := filepath.Dir(paths[0]); ; dir = filepath.Dir(dir) {
			err := events.Add(dir, unix.IN_CREATE|unix.IN_MOVED_TO)
			if err == nil || dir == "/" || ctx.Err() != nil {
				break
			}
		}
		for _, path := range paths { // Only now, so that nothing is missed.
			if _, err := os.Stat(path); err == nil {
				return nil
			}
		}
		if _, err := events.Read(buffer); err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
