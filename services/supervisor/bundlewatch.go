package supervisor

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
	"keelson/runtime/watch"
	"keelson/services/machine"
)

// watchBundle starts a service when its bundle is changed, unless the state of the
// service changes before.
func (s *Supervisor) watchBundle(svc *service) {
	ctx, cancel := context.WithCancel(s.ctx)
	svc.unwatch = cancel
	s.work.Go(func() {
		changed, err := s.options.Changed(ctx, svc.dir)
		if err != nil {
			s.options.Logger.Warn("cannot watch a bundle: after a change, start the service", "service", svc.name, "error", err)
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
// returns true, or false when ctx ends. It returns immediately when the bundle is valid,
// since it was changed before.
func bundleChanged(ctx context.Context, dir string) (bool, error) {
	w, err := watch.New()
	if err != nil {
		return false, err
	}
	defer w.Close()
	if err := w.Add(dir, unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		return false, fmt.Errorf("cannot watch %s: %w", dir, err)
	}
	defer context.AfterFunc(ctx, func() { _ = w.Close() })() // Not before: Add uses its file descriptor.
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

// stamp is what changes when a file is written or replaced.
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
