package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"keelson/init/policy"
	"keelson/init/rescue"
	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
	"keelson/runtime/oneshot"
	"keelson/runtime/paths"
	"keelson/runtime/timeline"
)

const (
	runtimePath = paths.Runc
	stateDir    = paths.State // results, in a folder for each series
	runLogs     = "/run/log"  // logs, in a folder for each series
	varLogs     = paths.Logs  // links to the folders of logs
)

// series is a folder of containers that run one after the other.
type series struct {
	kind   string // name of the section
	dir    string // of the bundles
	logs   string // folder of logs
	link   string // path of the link to logs
	state  string // folder of results
	prefix string // of logs
	stage  string // of events
	debug  bool   // linuxkit.runc_debug
	live   bool   // linuxkit.runc_console: output is shown immediately
	out    output
	log    *slog.Logger
	runner oneshot.Runner
	runOne func(context.Context, *bundle.Bundle, oneshot.Options) oneshot.Result
	links  *links // network devices that a container may need

	// rules returns the rules of a container; nil stands for one that cannot be read.
	rules   func(*bundle.Bundle) (policy.Rules, bundle.Settings)
	request func(policy.Action) error // requests a shutdown from PID 1
	first   bool                      // ask before the first container
	// askOperator asks on the console what to do, see package rescue.
	askOperator func(context.Context, rescue.Session) policy.Action

	done []oneshot.Result // last result of each container
	rest []string         // names of the containers not yet run
}

// output is the part of a console that a series needs.
type output interface {
	Event(timeline.Event)
	Raw([]byte)
}

func onboot(rc roleContext) *series {
	s := newSeries(rc, bundle.OnbootDir, "onboot", "onboot.", timeline.Onboot)
	s.rules, s.first, s.links = rc.policy.Rules, rc.policy.First, rc.links
	return s
}

func onshutdown(rc roleContext) *series {
	s := newSeries(rc, bundle.OnshutdownDir, "onshutdown", "shutdown.", timeline.Shutdown)
	s.rules = func(b *bundle.Bundle) (policy.Rules, bundle.Settings) {
		if b == nil {
			return policy.Silent().Rules(nil)
		}
		rules, err := policy.ForShutdown(b)
		if err != nil {
			rc.log.Warn("setting ignored", "container", b.Name, "error", err)
		}
		return rules, b.Settings
	}
	return s
}

func newSeries(rc roleContext, dir, kind, prefix, stage string) *series {
	return &series{
		kind: kind, dir: dir, logs: filepath.Join(runLogs, kind), link: filepath.Join(varLogs, kind), state: filepath.Join(stateDir, kind),
		prefix: prefix, stage: stage, out: rc.console, log: rc.log, runOne: oneshot.Run, request: findInit().request, askOperator: rc.askOperator,
		debug: rc.line.Enabled("linuxkit.runc_debug"),
		live:  rc.line.Enabled("linuxkit.runc_console"),
	}
}

// run runs all containers in name order. The rules of a container decide what its
// failure or a broken bundle means; the error is about the series as a whole.
func (s *series) run(ctx context.Context) error {
	defer s.runner.Close()
	var err error
	s.rest, err = bundle.List(s.dir)
	proceed := true
	if s.first {
		var askErr error
		proceed, askErr = s.askFirst(ctx)
		err = errors.Join(err, askErr)
	}
	names := bundle.NewNames(s.kind)
	for _, name := range s.rest {
		if clash, ok := errors.AsType[bundle.ErrClash](names.Add(name)); ok { // The later container overwrites the log.
			s.log.Warn("a log is lost", "error", clash)
		}
	}
	if len(s.rest) > 0 {
		err = errors.Join(err, os.MkdirAll(s.logs, 0o755), os.MkdirAll(s.state, 0o755), s.linkLogs())
	}
	for proceed && len(s.rest) > 0 && ctx.Err() == nil {
		var oneErr error
		name := s.rest[0]
		s.rest = s.rest[1:]
		proceed, oneErr = s.runContainer(ctx, name)
		err = errors.Join(err, oneErr)
	}
	if len(s.rest) > 0 {
		err = errors.Join(err, fmt.Errorf("containers from %s on were not run", s.rest[0]))
	}
	if len(s.done) > 0 { // A container may have mounted a disk on /var.
		err = errors.Join(err, s.linkLogs())
	}
	return err
}

// runContainer runs a container, again if its rules say so, and reports whether to
// run the next one.
func (s *series) runContainer(ctx context.Context, name string) (proceed bool, err error) {
	c := s.load(name)
	if c.bundle != nil && s.links.wait(ctx, c.bundle) {
		s.log.Warn("container runs without a network device that ip= names", "container", name, "waited", linkGrace)
	}
	for {
		d, saveErr := s.attempt(ctx, c)
		err = errors.Join(err, saveErr)
		switch {
		case ctx.Err() != nil:
			return false, err
		case d.Action == policy.Next:
			return true, err
		case d.Action == policy.Rescue:
			proceed, askErr := s.askAbout(ctx, c)
			return proceed, errors.Join(err, askErr)
		case d.Action != policy.Retry:
			return false, errors.Join(err, s.stop(ctx, d.Action))
		case !backoff.Wait(ctx, d.Pause):
			return false, err
		}
	}
}

// stop ends the series: it requests the action and waits until PID 1 ends this
// process.
func (s *series) stop(ctx context.Context, a policy.Action) (err error) {
	if a != policy.Wait {
		err = s.request(a)
	}
	if err != nil {
		s.log.Error("waiting to be rebooted, powered off or halted", "error", err)
	}
	<-ctx.Done()
	return err
}

// container is a container of a series.
type container struct {
	name     string
	bundle   *bundle.Bundle // nil if it cannot be read
	err      error          // why it cannot be read
	rules    policy.Rules
	attempts int
}

func (s *series) load(name string) *container {
	c := &container{name: name}
	s.read(c)
	return c
}

// read reads a container's bundle.
func (s *series) read(c *container) {
	if c.err = bundle.CheckName(s.kind, c.name); c.err == nil {
		c.bundle, c.err = bundle.Load(filepath.Join(s.dir, c.name))
	}
	if c.err != nil {
		c.rules, _ = s.rules(nil)
		return
	}
	for _, w := range append(c.bundle.Warnings, c.bundle.Inapplicable(bundle.KindOneShot)...) {
		s.log.Warn("setting ignored", "container", c.name, "error", w)
	}
	c.rules, c.bundle.Settings = s.rules(c.bundle)
}

// attempt runs a container once, reports its result and decides what follows.
func (s *series) attempt(ctx context.Context, c *container) (policy.Decision, error) {
	began := timeline.Now()
	c.attempts++
	r := s.once(ctx, c)
	r.Attempts = c.attempts
	s.out.Raw(r.Output())
	var d policy.Decision
	if ctx.Err() == nil { // Otherwise the shutdown has ended it.
		d = policy.After(r.OK(), c.attempts, c.rules)
		r.Decision = d.Words
	}
	now := timeline.Now()
	s.out.Event(timeline.Event{At: now, Stage: s.stage, Name: c.name, Result: r.String(), Took: now - began, Note: s.note(r)})
	s.keep(r)
	return d, oneshot.Save(s.state, r)
}

func (s *series) once(ctx context.Context, c *container) oneshot.Result {
	if c.err != nil {
		return oneshot.Result{Name: c.name, ExitCode: -1, Err: c.err.Error(), Started: time.Now()}
	}
	o := oneshot.Options{
		Runtime: runtimePath, LogDir: s.logs, LogPrefix: s.prefix, Debug: s.debug, Timeout: c.bundle.Settings.Timeout,
		Append: c.attempts > 1, Logger: s.log, Runner: &s.runner,
	}
	if s.live {
		o.Mirror = s.out.Raw
	}
	return s.runOne(ctx, c.bundle, o)
}

// note returns the text that follows a result on the console: the decision and the
// path of the log.
func (s *series) note(r oneshot.Result) string {
	if r.OK() || r.Decision == "" {
		return r.Decision
	}
	for _, path := range []string{r.Stderr, r.Stdout} {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return r.Decision + "; log: " + filepath.Join(s.link, filepath.Base(path))
		}
	}
	return r.Decision
}

// keep stores the last result of each container.
func (s *series) keep(r oneshot.Result) {
	if last := len(s.done) - 1; last >= 0 && s.done[last].Name == r.Name {
		s.done = s.done[:last]
	}
	s.done = append(s.done, r)
}

// linkLogs creates the link to the logs in /var/log.
func (s *series) linkLogs() error {
	if err := os.MkdirAll(filepath.Dir(s.link), 0o755); err != nil {
		return fmt.Errorf("cannot link logs: %w", err)
	}
	if err := os.Symlink(s.logs, s.link); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot link logs: %w", err)
	}
	return nil
}
