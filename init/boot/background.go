package boot

import (
	"context"
	"fmt"
	"os/exec"

	"golang.org/x/sys/unix"

	"keelson/init/modules"
	"keelson/init/role"
	"keelson/runtime/userspace"
)

// background starts a role without waiting for its end: it runs when nothing else
// needs the processor (SCHED_IDLE, sched(7)), and PID 1 reaps it.
func background(name string) error {
	c := exec.Command(role.Init, name)
	if err := c.Start(); err != nil {
		return fmt.Errorf("cannot start init %s: %w", name, err)
	}
	// On failure, it runs at normal priority.
	_ = unix.SchedSetAttr(c.Process.Pid, &unix.SchedAttr{Policy: unix.SCHED_IDLE}, 0)
	return nil
}

// Devices is the role that loads the drivers of buttons and input devices, for which
// no container has to wait, and of devices that have appeared since the boot. At a
// shutdown it ends as soon as the device at hand has its drivers.
func Devices(ctx context.Context, env userspace.Environment) error {
	return runRole(env, func(rc roleContext) error {
		if err := modules.Rest(ctx, rc.line); err != nil {
			rc.log.Error("a device does not work", "error", err)
		}
		return nil
	})
}
