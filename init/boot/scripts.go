package boot

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"keelson/init/ready"
	"keelson/init/scripts"
	"keelson/init/scripts/runner"
	"keelson/init/step"
	"keelson/runtime/userspace"
)

// stageScript is the stage of the events of scripts.
const stageScript = "script"

// steps returns a step for each item; an item that stands for steps of init is
// replaced by those in own.
func steps(dir string, items []scripts.Item, own map[string][]step.Step, log *slog.Logger) []step.Step {
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

// script returns the step that runs one script.
func script(dir string, item scripts.Item, log *slog.Logger) step.Step {
	path := filepath.Join(dir, item.Name)
	return step.Step{Stage: stageScript, Name: filepath.Join(filepath.Base(dir), item.Name), Do: func(ctx context.Context) (string, error) {
		if item.Kind == scripts.Unusable {
			return "", errors.New("not run: not executable")
		}
		return runner.Run(ctx, path, runner.SlowAfter, func() {
			log.Warn("a script still runs and delays the steps after it", "script", path, "after", runner.SlowAfter)
		})
	}}
}

// Late is the role that runs the scripts ordered after the services.
func Late(ctx context.Context, env userspace.Environment) error {
	return runRole(env, func(rc roleContext) error {
		items, err := scripts.Boot()
		if err != nil {
			return err
		}
		for len(items) > 0 && items[0].Name <= scripts.Containerd {
			items = items[1:]
		}
		err = ready.Wait(ctx)
		if err != nil && ctx.Err() == nil {
			rc.log.Warn("not all services are started; running the scripts after them", "error", err)
		}
		return step.Run(ctx, rc.console, rc.log, steps(scripts.InitDir, items, nil, rc.log))
	})
}
