package boot

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"keelson/init/policy"
	"keelson/init/rescue"
	"keelson/runtime/bundle"
	"keelson/runtime/oneshot"
)

// askFirst asks before the first container and reports whether to run it.
func (s *series) askFirst(ctx context.Context) (proceed bool, err error) {
	a := s.askOperator(ctx, rescue.Session{Why: "keelson.rescue is on the command line", Results: s.results, Rest: s.rest})
	if a == policy.Next {
		return true, nil
	}
	return false, s.stop(ctx, a)
}

// askAbout asks what to do about a container that has failed and reports whether to
// run the next one.
func (s *series) askAbout(ctx context.Context, c *container) (proceed bool, err error) {
	again := func(ctx context.Context) bool {
		s.read(c) // The operator may have repaired the bundle.
		d, saveErr := s.attempt(ctx, c)
		err = errors.Join(err, saveErr)
		return ctx.Err() == nil && d.Action == policy.Next && s.done[len(s.done)-1].OK()
	}
	a := s.askOperator(ctx, rescue.Session{
		Why: s.stage + " " + c.name + " failed", Results: s.results, Rest: s.rest, Retry: again,
	})
	if last := &s.done[len(s.done)-1]; ctx.Err() == nil && !last.OK() {
		last.Decision += ", then " + a.String()
		err = errors.Join(err, oneshot.Save(s.state, *last))
	}
	if a == policy.Next {
		return true, err
	}
	return false, errors.Join(err, s.stop(ctx, a))
}

func (s *series) results() []oneshot.Result { return s.done }

// askOperator asks on the console what to do.
func (rc roleContext) askOperator(ctx context.Context, session rescue.Session) policy.Action {
	session.Path, session.Out, session.Log = rescue.Path(int(findInit()), rc.env.Machine), rc.console, rc.log
	session.NoKernelLog = !rc.env.Machine
	session.Shell = rc.rescueShell()
	return session.Run(ctx)
}

// rescueShell returns a function that runs the image's rescue shell, or nil if the
// image has none.
func (rc roleContext) rescueShell() func(context.Context, *os.File) {
	b, err := bundle.FindRescue()
	if err != nil {
		rc.log.Error("a bundle for rescue cannot be used", "error", err)
	}
	if b == nil {
		return nil
	}
	for _, warning := range b.Warnings {
		rc.log.Warn("setting ignored", "container", b.Name, "error", warning)
	}
	return func(ctx context.Context, tty *os.File) {
		r := oneshot.RunOnTerminal(ctx, b, oneshot.Options{
			Runtime: runtimePath, LogDir: filepath.Join(runLogs, "rescue"), Debug: rc.line.Enabled("linuxkit.runc_debug"), Logger: rc.log,
		}, tty)
		if ctx.Err() == nil {
			rc.log.Info("the rescue shell has ended", "container", b.Name, "how", r.String())
		}
	}
}
