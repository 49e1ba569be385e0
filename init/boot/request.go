package boot

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"keelson/init/policy"
)

// requests are the signals by which /init is asked to shut down.
var requests = map[policy.Action]unix.Signal{
	policy.Reboot: unix.SIGTERM, policy.PowerOff: unix.SIGUSR2, policy.Halt: unix.SIGUSR1,
}

// initPID is the PID of /init, which started this process. In userspace mode, it need
// not be 1, and process 1 may be another program.
type initPID int

func findInit() initPID { return initPID(os.Getppid()) }

// request asks /init for a shutdown; /init then ends this process.
func (p initPID) request(a policy.Action) error {
	if err := p.check(); err != nil {
		return fmt.Errorf("%v: cannot ask init: %w", a, err)
	}
	if err := unix.Kill(int(p), requests[a]); err != nil {
		return fmt.Errorf("%v: cannot ask init: %w", a, err)
	}
	return nil
}

// check returns an error if the parent is not /init or has ended: it may be a shell in
// which somebody typed `init boot`.
func (p initPID) check() error {
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
