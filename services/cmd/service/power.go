package main

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/services/control"
)

// ways down: the signal that asks PID 1, and the command for reboot(2).
var ways = map[string]struct {
	signal  syscall.Signal
	command int
}{
	control.Halt:     {syscall.SIGUSR1, unix.LINUX_REBOOT_CMD_HALT},
	control.PowerOff: {syscall.SIGUSR2, unix.LINUX_REBOOT_CMD_POWER_OFF},
	control.Reboot:   {syscall.SIGTERM, unix.LINUX_REBOOT_CMD_RESTART},
}

// power takes the machine down: in order through the supervisor, which can
// be asked from any PID namespace, or through PID 1 when that does not answer;
// with force at once, without stopping anything.
func power(ctx context.Context, inv invocation) (int, error) {
	way := ways[inv.verb]
	if inv.force {
		if !isInit("/proc/1/exe") { // In userspace mode it may be the outer system's machine.
			return control.CodeFailed, fmt.Errorf("cannot %s at once: PID 1 here is not keelson's /init", inv.verb)
		}
		unix.Sync()
		return control.CodeFailed, fmt.Errorf("cannot %s: %w", inv.verb, unix.Reboot(way.command))
	}
	code, err := act(ctx, inv)
	if err == nil || !isInit("/proc/1/exe") {
		return code, err
	}
	if killErr := syscall.Kill(1, way.signal); killErr != nil {
		return code, fmt.Errorf("%w; cannot ask PID 1 either: %w", err, killErr)
	}
	return control.CodeOK, nil
}

// isInit tells whether the process behind an exe link is keelson's PID 1, and
// not the first process of some container.
func isInit(exe string) bool {
	path, err := os.Readlink(exe)
	return err == nil && path == "/init"
}
