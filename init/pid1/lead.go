package pid1

import (
	"context"
	"fmt"

	"keelson/init/initrd"
	"keelson/init/pid1/handover"
	"keelson/init/step"
	"keelson/mounts"
	"keelson/runtime/timeline"
)

// leadingList is done before there is a console in an initramfs that only leads
// to a root on a disk.
func leadingList(sink step.Sink) []step.Step {
	const stage = timeline.Mounts
	return []step.Step{
		{Stage: stage, Name: "essential", Quiet: true, On: step.Fatal, Do: func(context.Context) (string, error) {
			return "", mounts.Apply(mounts.Essential())
		}},
		rootStep(sink, "initramfs"),
	}
}

// lead becomes the init of the root on a disk. It returns when it cannot, and
// the next phase says why.
func (p *pid1) lead() {
	err := p.reachRoot()
	if err == nil {
		err = fmt.Errorf("cannot start the init of the root: %w", handover.Exec(initPath, relevantSignals()))
	}
	p.note(func(s *state) { s.Phase, s.Fatal = phaseFatal, err.Error() })
}

// reachRoot has the root mounted by a role and makes it this process's. A signal
// ends the waiting for a root.
func (p *pid1) reachRoot() error {
	if !initrd.Here() {
		return nil // An earlier incarnation has done it.
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
	if _, err := p.runRole(ctx, roleRoot, roleGrace); err != nil {
		return fmt.Errorf("cannot go on without a root: %w", err)
	}
	flushed, stop := context.WithTimeout(context.Background(), flushLimit)
	defer stop()
	_ = p.console.Flush(flushed) // A stuck console must not keep the system from booting.
	return mounts.SwitchRoot(initrd.Root)
}
