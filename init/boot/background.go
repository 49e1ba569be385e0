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

// background starts a role that nothing waits for: it runs when nothing else needs
// the processor (SCHED_IDLE of sched(7)), and PID 1 reaps it.
func background(name string) error {
	c := exec.Command(role.Init, name)
	if err := c.Start(); err != nil {
		return fmt.Errorf("cannot start init %s: %w", name, err)
	}
	// Otherwise it runs beside the others.
	_ = unix.SchedSetAttr(c.Process.Pid, &unix.SchedAttr{Policy: unix.SCHED_IDLE}, 0)
	return nil
}

// Devices is the role that loads drivers of buttons and input devices, which no
// container has to wait for, and of devices that have come since the boot.
func Devices(_ context.Context, env userspace.Environment) error {
	return with(env, func(w world) error {
		if err := modules.Rest(w.line); err != nil {
			w.log.Error("a device does not work", "error", err)
		}
		return nil
	})
}
