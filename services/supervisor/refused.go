package supervisor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
	"keelson/runtime/watch"
	"keelson/services/machine"
)

// explain returns err, which the runtime failed with, with the reason where that is
// the configuration. A bundle that was started before is not refused: the image has a
// runtime with other rules.
func (r *run) explain(err error) error {
	if r.proven {
		return err
	}
	return r.bundle.Explain(err)
}

// isRefused reports whether a start failed because of the bundle's configuration:
// it fails again until the bundle is changed.
func isRefused(err error) bool {
	var refused *bundle.RefusedError
	return errors.As(err, &refused)
}

// sameFailure reports whether two errors differ in nothing but numbers, such as
// those of processes and file descriptors.
func sameFailure(a, b string) bool { return withoutDigits(a) == withoutDigits(b) }

func withoutDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}

// watchBundle starts a service when its bundle is changed, unless it changes state
// before.
func (s *Supervisor) watchBundle(svc *service) {
	ctx, cancel := context.WithCancel(s.ctx)
	svc.unwatch = cancel
	s.work.Go(func() {
		changed, err := s.options.Changed(ctx, svc.dir)
		if err != nil {
			s.options.Logger.Warn("changes of a bundle are not noticed", "service", svc.name, "error", err)
		}
		if !changed {
			return
		}
		s.send(func() {
			if ctx.Err() != nil {
				return
			}
			s.options.Logger.Info("bundle was changed, service is started", "service", svc.name)
			svc.history = machine.History{}
			svc.reload = true
			s.apply(svc, machine.Start)
		})
	})
}

// bundleChanged waits until a file of the bundle in dir is written or replaced, and
// returns true; false when ctx ends. A bundle that may start is one that was changed
// before.
func bundleChanged(ctx context.Context, dir string) (bool, error) {
	w, err := watch.New()
	if err != nil {
		return false, err
	}
	defer w.Close()
	if err := w.Add(dir, unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		return false, fmt.Errorf("cannot watch %s: %w", dir, err)
	}
	defer context.AfterFunc(ctx, func() { _ = w.Close() })() // Not before: Add uses its descriptor.
	before := stampsOf(dir)
	if b, err := bundle.Load(dir); err == nil && len(bundle.Refusals(b.Spec)) == 0 {
		return true, nil
	}
	for buffer := make([]byte, 4096); stampsOf(dir) == before; {
		if _, err := w.Read(buffer); ctx.Err() != nil {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("cannot watch %s: %w", dir, err)
		}
	}
	return true, nil
}

// stamp is what of a file is another when it is written or replaced.
type stamp struct {
	size  int64
	mtime time.Time
	inode uint64
}

func stampsOf(dir string) (stamps [2]stamp) {
	for i, name := range []string{bundle.ConfigFile, bundle.RuntimeFile} {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(dir, name), &st) == nil {
			stamps[i] = stamp{st.Size, time.Unix(st.Mtim.Unix()), st.Ino}
		}
	}
	return stamps
}
