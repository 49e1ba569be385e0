package main

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"keelson/services/cli"
	"keelson/services/control"
)

// shutdowns has, for each command, the signal that requests it of PID 1, and the command
// of reboot(2).
var shutdowns = map[string]struct {
	signal  syscall.Signal
	command int
}{
	control.Halt:     {syscall.SIGUSR1, unix.LINUX_REBOOT_CMD_HALT},
	control.PowerOff: {syscall.SIGUSR2, unix.LINUX_REBOOT_CMD_POWER_OFF},
	control.Reboot:   {syscall.SIGTERM, unix.LINUX_REBOOT_CMD_RESTART},
}

// power is the verb that shuts the machine down. It asks the supervisor, which is reachable from
// any PID namespace, or PID 1 if the supervisor does not answer. With -f, it reboots immediately,
// without stopping anything.
func power(app *cli.App, verb string) cli.Verb {
	var force bool
	v := app.Power(verb)
	ask := v.Run
	v.Long = "If the supervisor does not answer, PID 1 gets the signal for it. /sbin/" + verb + " is the same."
	v.Example += "\n" + verb + " -f # at once: nothing is stopped, only the disks are synced"
	v.Flags = func(f *pflag.FlagSet) {
		f.BoolVarP(&force, "force", "f", false, "immediately, without stopping anything")
	}
	var next kexecFlags
	if verb == control.Reboot {
		next.add(&v)
	}
	v.Run = func(ctx context.Context, args []string) (int, error) {
		load, err := next.wanted(force)
		if err != nil {
			return control.CodeUsage, err
		}
		if load {
			return next.run(ctx, args, ask)
		}
		how := shutdowns[verb]
		if force {
			if !isInit("/proc/1/exe") { // In userspace mode the machine may belong to the outer system.
				return control.CodeFailed, fmt.Errorf("cannot %s with -f: PID 1 here is not keelson's /init", verb)
			}
			unix.Sync()
			return control.CodeFailed, fmt.Errorf("cannot %s: %w", verb, unix.Reboot(how.command))
		}
		code, err := ask(ctx, args)
		if err == nil || !isInit("/proc/1/exe") {
			return code, err
		}
		if killErr := syscall.Kill(1, how.signal); killErr != nil {
			return code, fmt.Errorf("%w; cannot signal PID 1 either: %w", err, killErr)
		}
		return control.CodeOK, nil
	}
	return v
}

// isInit reports whether exe, a link of /proc/PID/exe, is that of keelson's PID 1, and
// not that of a container's first process.
func isInit(exe string) bool {
	path, err := os.Readlink(exe)
	return err == nil && path == "/init"
}
