package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"keelson/init/cmdline"
	"keelson/runtime/bundle"
	"keelson/runtime/console"
	"keelson/runtime/oneshot"
	"keelson/runtime/timeline"
)

const (
	runtimePath = "/usr/bin/runc"
	stateDir    = "/run/keelson" // results, in a folder for each series
	runLogs     = "/run/log"     // logs, likewise
	varLogs     = "/var/log"     // links to those
)

// series is a folder of containers run one after the other.
type series struct {
	dir    string // of the bundles
	logs   string // folder of logs
	link   string // leads to logs
	state  string // folder of results
	prefix string // of logs
	stage  string // of events
	debug  bool   // linuxkit.runc_debug
	live   bool   // linuxkit.runc_console: output is shown as it comes
	out    output
	runOne func(context.Context, *bundle.Bundle, oneshot.Options) oneshot.Result
}

// output is the part of a console a series needs.
type output interface {
	Event(timeline.Event)
	Raw([]byte)
}

func onboot(line cmdline.Line, c *console.Console) *series {
	return newSeries(line, c, bundle.OnbootDir, "onboot", "onboot.", timeline.Onboot)
}

func onshutdown(line cmdline.Line, c *console.Console) *series {
	return newSeries(line, c, bundle.OnshutdownDir, "onshutdown", "shutdown.", timeline.Shutdown)
}

func newSeries(line cmdline.Line, c *console.Console, dir, kind, prefix, stage string) *series {
	logger := c.Logger()
	return &series{
		dir: dir, logs: filepath.Join(runLogs, kind), link: filepath.Join(varLogs, kind), state: filepath.Join(stateDir, kind),
		prefix: prefix, stage: stage, out: c,
		debug: line.Enabled("linuxkit.runc_debug"),
		live:  line.Enabled("linuxkit.runc_console"),
		runOne: func(ctx context.Context, b *bundle.Bundle, o oneshot.Options) oneshot.Result {
			o.Logger = logger
			for _, w := range b.Warnings {
				logger.Warn("setting ignored", "container", b.Name, "error", w)
			}
			return oneshot.Run(ctx, b, o)
		},
	}
}

// run runs all containers in name order. One that fails, or whose bundle is
// broken, costs only itself; the error is about the series as a whole.
func (s *series) run(ctx context.Context) error {
	names, err := bundle.List(s.dir)
	if err != nil || len(names) == 0 {
		return err
	}
	err = errors.Join(os.MkdirAll(s.logs, 0o755), os.MkdirAll(s.state, 0o755), s.linkLogs())
	for _, name := range names {
		if ctx.Err() != nil {
			return errors.Join(err, fmt.Errorf("containers from %s on were not run: %w", name, ctx.Err()))
		}
		err = errors.Join(err, oneshot.Save(s.state, s.one(ctx, name)))
	}
	// A container may have mounted a disk on /var.
	return errors.Join(err, s.linkLogs())
}

func (s *series) one(ctx context.Context, name string) oneshot.Result {
	began, started := timeline.Now(), time.Now()
	var r oneshot.Result
	b, err := bundle.Load(filepath.Join(s.dir, name))
	if err != nil {
		r = oneshot.Result{Name: name, ExitCode: -1, Err: err.Error(), Started: started}
	} else {
		o := oneshot.Options{
			Runtime: runtimePath, LogDir: s.logs, LogPrefix: s.prefix, Debug: s.debug, Timeout: b.Settings.Timeout,
		}
		if s.live {
			o.Mirror = s.out.Raw
		}
		r = s.runOne(ctx, b, o)
	}
	s.out.Raw(r.Output())
	now := timeline.Now()
	s.out.Event(timeline.Event{At: now, Stage: s.stage, Name: name, Result: r.String(), Took: now - began})
	return r
}

// linkLogs makes the logs found where people look for them.
func (s *series) linkLogs() error {
	if err := os.MkdirAll(filepath.Dir(s.link), 0o755); err != nil {
		return fmt.Errorf("cannot link logs: %w", err)
	}
	if err := os.Symlink(s.logs, s.link); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot link logs: %w", err)
	}
	return nil
}
