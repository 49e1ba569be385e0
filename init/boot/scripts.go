package boot

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"keelson/init/ready"
	"keelson/init/scripts"
	"keelson/init/step"
	"keelson/runtime/userspace"
)

const (
	// stageScript is that of events about scripts.
	stageScript = "script"
)

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
func Late(ctx context.Context, env userspace.Environment) error {
	return with(env, func(w world) error {
		items, err := scripts.Boot()
		if err != nil {
			return err
		}
		for len(items) > 0 && items[0].Name <= scripts.Containerd {
			items = items[1:]
		}
		err = ready.Wait(ctx)
		if err != nil && ctx.Err() == nil {
			w.log.Warn("the services are not all started; scripts go on without them", "error", err)
		}
		return step.Run(ctx, w.console, w.log, among(scripts.InitDir, items, nil, w.log))
	})
}
