package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"keelson/services/connection"
	"keelson/services/machine"
	"keelson/services/upgrade"
)

// host is the supervisor as an upgrade of keelson's own programs sees it. Reserve and Running
// are for goroutines of clients; StillRun and Adopted for those that Go starts, which Serve
// waits for at its end.
type host struct{ s *Supervisor }

var _ upgrade.Host = host{}

func (s *Supervisor) newUpgrade() *upgrade.Upgrade {
	return upgrade.New(upgrade.Options{
		Dir: s.options.Programs, State: filepath.Join(s.options.StateDir, upgrade.Name), Policy: s.options.Policy,
		Logger: s.options.Logger, Now: s.options.Now, Shown: s.options.Events, Emit: s.recorder.emit,
		Stage: s.candidates.Read, Daemon: s.options.Daemon, Role: s.options.Role, SameProgram: s.options.SameProgram,
	}, host{s})
}

// Reserve implements upgrade.Host.
func (h host) Reserve(set func()) error {
	return h.s.ask(func() error {
		for _, name := range h.s.services.names {
			if h.s.services.byName[name].trial != nil {
				return fmt.Errorf("a swap of service %s has begun", name)
			}
		}
		for name := range h.s.swapping {
			return fmt.Errorf("a swap of service %s has begun", name)
		}
		if err := h.s.obstacleToSwap(upgrade.Name); err != nil {
			return err
		}
		set()
		return nil
	})
}

// Running implements upgrade.Host.
func (h host) Running() (map[string]int, error) {
	found := map[string]int{}
	err := h.s.ask(func() error {
		if h.s.stopping {
			return errShuttingDown
		}
		for _, name := range h.s.services.names {
			if svc := h.s.services.byName[name]; svc.state == machine.Running && svc.pid != 0 {
				found[name] = svc.pid
			}
		}
		return nil
	})
	return found, err
}

// StillRun implements upgrade.Host. A service that is being probed runs.
func (h host) StillRun(before map[string]int) error {
	return h.s.askServe(func() error {
		for _, name := range slices.Sorted(maps.Keys(before)) {
			svc := h.s.services.byName[name]
			switch {
			case svc == nil:
				return fmt.Errorf("service %s does not exist any more", name)
			case svc.pid != before[name] || svc.state != machine.Running && svc.state != machine.Activating:
				return fmt.Errorf("service %s ran as process %d, and is %s as process %d", name, before[name], svc.state, svc.pid)
			}
		}
		return nil
	})
}

// Adopted implements upgrade.Host.
func (h host) Adopted(ctx context.Context) (bool, error) {
	needed := false
	if err := h.s.askServe(func() error { needed = h.s.connecting; return nil }); err != nil || !needed {
		return false, err
	}
	select {
	case <-h.s.adopted:
		return true, nil
	case <-ctx.Done():
		return true, errors.New("containerd does not answer")
	}
}

// Tasks implements upgrade.Host.
func (h host) Tasks(ctx context.Context) (connection.Tasks, error) { return h.s.connection.Get(ctx) }

// KillContainerd implements upgrade.Host.
func (h host) KillContainerd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	tasks, err := h.s.connection.Get(ctx)
	if err != nil {
		return h.s.options.KillStarting()
	}
	return tasks.KillDaemon()
}

// DeleteContainer implements upgrade.Host.
func (h host) DeleteContainer(name, namespace string) error {
	return h.s.deleteContainer(name, namespace)
}

// Persist implements upgrade.Host.
func (h host) Persist(change func() error) error { return h.s.persist(upgrade.Name, change) }

// End implements upgrade.Host.
func (h host) End(reason error) {
	if reason == nil {
		h.s.end(nil)
		return
	}
	h.Go(func(context.Context) {
		h.s.send(func() {
			if !h.s.stopping {
				h.s.end(reason)
			}
		})
	})
}

// Go implements upgrade.Host.
func (h host) Go(f func(ctx context.Context)) { h.s.work.Go(func() { f(h.s.ctx) }) }

// end makes the process end, without stopping services. err is nil if it did as ordered.
func (s *Supervisor) end(err error) {
	s.endOnce.Do(func() {
		s.endErr = err
		s.recorder.supervisor("ending", "for another supervisor, which continues")
		close(s.replaced)
	})
}

// Replaced is closed when another supervisor is to continue: the process must end without
// stopping the services. ReplacedWhy says why then.
func (s *Supervisor) Replaced() <-chan struct{} { return s.replaced }

// ReplacedWhy returns why the supervisor gives up, or nil if it did as ordered. It is valid
// once Replaced is closed.
func (s *Supervisor) ReplacedWhy() error { return s.endErr }
