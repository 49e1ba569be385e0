package boot

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"keelson/init/policy"
	"keelson/init/rescue"
	"keelson/runtime/oneshot"
)

// askFirst asks before the first container and tells whether to run it.
func (s *series) askFirst(ctx context.Context) (goOn bool, err error) {
	a := s.person(ctx, rescue.Session{Why: "keelson.rescue is on the command line", Results: s.results, Rest: s.rest})
	if a == policy.Next {
		return true, nil
	}
	return false, s.stop(ctx, a)
}

// askAbout asks what to do about a container that has failed, and tells whether
// to run the next.
func (s *series) askAbout(ctx context.Context, c *one) (goOn bool, err error) {
	again := func(ctx context.Context) bool {
		s.read(c) // It may have been mended.
		d, saveErr := s.attempt(ctx, c)
		err = errors.Join(err, saveErr)
		return ctx.Err() == nil && d.Action == policy.Next && s.done[len(s.done)-1].OK()
	}
	a := s.person(ctx, rescue.Session{
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

// person asks whoever is at the console.
func (w world) person(ctx context.Context, session rescue.Session) policy.Action {
	session.Path, session.Out, session.Log = rescue.Path(int(findParent()), w.env.Machine), w.console, w.log
	session.NoKernelLog = !w.env.Machine
	session.Shell = w.rescueShell()
	return session.Run(ctx)
}

// rescueShell runs the shell of the image, if it has one.
func (w world) rescueShell() func(context.Context, *os.File) {
	b, err := rescue.FindShell()
	if err != nil {
		w.log.Error("a bundle for rescue cannot be used", "error", err)
	}
	if b == nil {
		return nil
	}
	for _, warning := range b.Warnings {
		w.log.Warn("setting ignored", "container", b.Name, "error", warning)
	}
	return func(ctx context.Context, tty *os.File) {
		r := oneshot.RunOnTerminal(ctx, b, oneshot.Options{
			Runtime: runtimePath, LogDir: filepath.Join(runLogs, "rescue"), Debug: w.line.Enabled("linuxkit.runc_debug"), Logger: w.log,
		}, tty)
		if ctx.Err() == nil {
			w.log.Info("the rescue shell has ended", "container", b.Name, "how", r.String())
		}
	}
}
