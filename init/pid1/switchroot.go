package pid1

import (
	"context"
	"fmt"

	"keelson/init/pid1/handover"
	"keelson/init/role"
	"keelson/init/switchroot"
	"keelson/mounts"
)

// switchroot becomes the init of the root on a disk. It returns when it cannot, and
// the next phase says why.
func (p *pid1) switchroot() {
	err := p.reachRoot()
	if err == nil {
		err = fmt.Errorf("cannot start the init of the root: %w", handover.Exec(role.Init, relevantSignals()))
	}
	p.note(func(s *state) { s.Phase, s.Fatal = phaseFatal, err.Error() })
}

// reachRoot has the root mounted by a role and makes it this process's. A signal
// ends the waiting for a root.
func (p *pid1) reachRoot() error {
	if !switchroot.Needed() {
		return nil // It was done before PID 1 re-executed itself.
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p.serve("root", func() {
		select {
		case <-p.signals.asked:
			cancel()
		case <-ctx.Done():
		}
	})
	if _, err := p.runRole(ctx, role.Root, roleGrace); err != nil {
		return fmt.Errorf("cannot go on without a root: %w", err)
	}
	flushed, stop := context.WithTimeout(context.Background(), flushLimit)
	defer stop()
	_ = p.console.Flush(flushed) // A stuck console must not keep the system from booting.
	return mounts.SwitchRoot(switchroot.Root)
}
