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
	kind   string // name of the section
	dir    string // of the bundles
	logs   string // folder of logs
	link   string // leads to logs
	state  string // folder of results
	prefix string // of logs
	stage  string // of events
	debug  bool   // linuxkit.runc_debug
	live   bool   // linuxkit.runc_console: output is shown as it comes
	out    output
	log    *slog.Logger
	runOne func(context.Context, *bundle.Bundle, oneshot.Options) oneshot.Result
	links  *links // that a container may need

	// rules are what holds for a container, or for one that cannot be read (nil).
	rules func(*bundle.Bundle) (policy.Rules, bundle.Settings)
	ask   func(policy.Action) error // asks PID 1 to go down
	first bool                      // a person is asked before the first container
	// person asks one what to do, see package rescue.
	person func(context.Context, rescue.Session) policy.Action

	done []oneshot.Result // of each container, the last
	rest []string         // those to come
}

// output is the part of a console a series needs.
type output interface {
	Event(timeline.Event)
	Raw([]byte)
}

func onboot(w world) *series {
	s := newSeries(w, bundle.OnbootDir, "onboot", "onboot.", timeline.Onboot)
	s.rules, s.first, s.links = w.policy.Rules, w.policy.First, w.links
	return s
}

func onshutdown(w world) *series {
	s := newSeries(w, bundle.OnshutdownDir, "onshutdown", "shutdown.", timeline.Shutdown)
	s.rules = func(b *bundle.Bundle) (policy.Rules, bundle.Settings) {
		if b == nil {
			return policy.Silent().Rules(nil)
		}
		rules, err := policy.OnTheWayDown(b)
		if err != nil {
			w.log.Warn("setting ignored", "container", b.Name, "error", err)
		}
		return rules, b.Settings
	}
	return s
}

func newSeries(w world, dir, kind, prefix, stage string) *series {
	return &series{
		kind: kind, dir: dir, logs: filepath.Join(runLogs, kind), link: filepath.Join(varLogs, kind), state: filepath.Join(stateDir, kind),
		prefix: prefix, stage: stage, out: w.console, log: w.log, runOne: oneshot.Run, ask: findParent().ask, person: w.person,
		debug: w.line.Enabled("linuxkit.runc_debug"),
		live:  w.line.Enabled("linuxkit.runc_console"),
	}
}

// run runs all containers in name order. What the failure of one, or a broken
// bundle, means is up to its rules; the error is about the series as a whole.
func (s *series) run(ctx context.Context) error {
	var err error
	s.rest, err = bundle.List(s.dir)
	goOn := true
	if s.first {
		var askErr error
		goOn, askErr = s.askFirst(ctx)
		err = errors.Join(err, askErr)
	}
	names := bundle.NewNames(s.kind)
	for _, name := range s.rest {
		if clash, ok := errors.AsType[bundle.ErrClash](names.Add(name)); ok { // They run one after the other: the last one's log stays.
			s.log.Warn("a log is lost", "error", clash)
		}
	}
	if len(s.rest) > 0 {
		err = errors.Join(err, os.MkdirAll(s.logs, 0o755), os.MkdirAll(s.state, 0o755), s.linkLogs())
	}
	for goOn && len(s.rest) > 0 && ctx.Err() == nil {
		var oneErr error
		name := s.rest[0]
		s.rest = s.rest[1:]
		goOn, oneErr = s.container(ctx, name)
		err = errors.Join(err, oneErr)
	}
	if len(s.rest) > 0 {
		err = errors.Join(err, fmt.Errorf("containers from %s on were not run", s.rest[0]))
	}
	if len(s.done) > 0 { // One may have mounted a disk on /var.
		err = errors.Join(err, s.linkLogs())
	}
	return err
}

// container runs one until its rules are content, and tells whether to go on
// with the next.
func (s *series) container(ctx context.Context, name string) (goOn bool, err error) {
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
			goOn, askErr := s.askAbout(ctx, c)
			return goOn, errors.Join(err, askErr)
		case d.Action != policy.Retry:
			return false, errors.Join(err, s.stop(ctx, d.Action))
		case !backoff.Wait(ctx, d.Pause):
			return false, err
		}
	}
}

// stop is the end of the boot: nothing more is done until PID 1 ends this
// process.
func (s *series) stop(ctx context.Context, a policy.Action) (err error) {
	if a != policy.Wait {
		err = s.ask(a)
	}
	if err != nil {
		s.log.Error("waiting to be rebooted, powered off or halted", "error", err)
	}
	<-ctx.Done()
	return err
}

// one is a container of a series.
type one struct {
	name     string
	bundle   *bundle.Bundle // nil: it cannot be read
	err      error          // why not
	rules    policy.Rules
	attempts int
}

func (s *series) load(name string) *one {
	c := &one{name: name}
	s.read(c)
	return c
}

// read reads a container's bundle.
func (s *series) read(c *one) {
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

// attempt runs a container once, tells how it ended and decides what follows.
func (s *series) attempt(ctx context.Context, c *one) (policy.Decision, error) {
	began := timeline.Now()
	c.attempts++
	r := s.once(ctx, c)
	r.Attempts = c.attempts
	s.out.Raw(r.Output())
	var d policy.Decision
	if ctx.Err() == nil { // Else it was told to end.
		d = policy.After(r.OK(), c.attempts, c.rules)
		r.Decision = d.Words
	}
	now := timeline.Now()
	s.out.Event(timeline.Event{At: now, Stage: s.stage, Name: c.name, Result: r.String(), Took: now - began, Note: s.note(r)})
	s.keep(r)
	return d, oneshot.Save(s.state, r)
}

func (s *series) once(ctx context.Context, c *one) oneshot.Result {
	if c.err != nil {
		return oneshot.Result{Name: c.name, ExitCode: -1, Err: c.err.Error(), Started: time.Now()}
	}
	o := oneshot.Options{
		Runtime: runtimePath, LogDir: s.logs, LogPrefix: s.prefix, Debug: s.debug, Timeout: c.bundle.Settings.Timeout,
		Append: c.attempts > 1, Logger: s.log,
	}
	if s.live {
		o.Mirror = s.out.Raw
	}
	return s.runOne(ctx, c.bundle, o)
}

// note is what people should know of a result besides.
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

// keep remembers the last result of each container.
func (s *series) keep(r oneshot.Result) {
	if last := len(s.done) - 1; last >= 0 && s.done[last].Name == r.Name {
		s.done = s.done[:last]
	}
	s.done = append(s.done, r)
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
