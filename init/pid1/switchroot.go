package pid1

import (
	"context"
	"fmt"

	"keelson/init/pid1/handover"
	"keelson/init/role"
	"keelson/init/switchroot"
	"keelson/mounts"
)

// switchroot executes the init of the root on a disk. It returns only if it cannot;
// the next phase reports why.
func (p *pid1) switchroot() {
	err := p.switchToRoot()
	if err == nil {
		err = fmt.Errorf("cannot start the init of the root: %w", handover.Exec(role.Init, relevantSignals()))
	}
	p.note(func(s *state) { s.Phase, s.Fatal = phaseFatal, err.Error() })
}

// switchToRoot runs the role that mounts the root, and makes that the root of this
// process. A request for a shutdown ends the wait.
func (p *pid1) switchToRoot() error {
	if !switchroot.Needed() {
		return nil // It was done before PID 1 re-executed itself.
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p.serve("root", func() {
		select {
		case <-p.signals.requested:
			cancel()
		case <-ctx.Done():
		}
	})
	if _, err := p.runRole(ctx, role.Root, roleGrace); err != nil {
		return fmt.Errorf("cannot boot without a root: %w", err)
	}
	flushed, stop := context.WithTimeout(context.Background(), flushLimit)
	defer stop()
	_ = p.console.Flush(flushed) // A stuck console must not prevent the boot.
	return mounts.SwitchRoot(switchroot.Root)
}
