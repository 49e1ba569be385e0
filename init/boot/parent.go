package boot

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"keelson/init/policy"
)

// requests are the signals by which /init takes its orders.
var requests = map[policy.Action]unix.Signal{
	policy.Reboot: unix.SIGTERM, policy.PowerOff: unix.SIGUSR2, policy.Halt: unix.SIGUSR1,
}

// parent is /init, which started this process. In userspace mode it need not be
// the first process, and that may be a stranger.
type parent int

func findParent() parent { return parent(os.Getppid()) }

// ask asks /init to take the machine down; it answers by ending this process.
func (p parent) ask(a policy.Action) error {
	if err := p.check(); err != nil {
		return fmt.Errorf("%v: cannot ask init: %w", a, err)
	}
	if err := unix.Kill(int(p), requests[a]); err != nil {
		return fmt.Errorf("%v: cannot ask init: %w", a, err)
	}
	return nil
}

// check wants the parent to be /init still, and not a shell, say, in which
// somebody typed `init boot`.
func (p parent) check() error {
	if os.Getppid() != int(p) {
		return errors.New("it has ended")
	}
	own, err := os.Stat("/proc/self/exe")
	if err != nil {
		return err
	}
	theirs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", p))
	if err != nil {
		return err
	}
	if !os.SameFile(own, theirs) {
		return fmt.Errorf("process %d, which started this one, is another program", p)
	}
	return nil
}
