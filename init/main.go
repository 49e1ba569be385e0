// Command init is the first process of a keelson system. The same program runs as a role
// (package role), which the first process starts, and as the kernel's helper for loading
// modules and running programs.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"keelson/init/boot"
	"keelson/init/helper"
	"keelson/init/initrd"
	"keelson/init/modules"
	"keelson/init/pid1"
	"keelson/init/pid1/environment"
	"keelson/init/programs"
	"keelson/init/role"
	"keelson/init/scripts/runner"
	"keelson/runtime/userspace"
	"keelson/runtime/version"
)

const usage = `usage: init (as the first process of a machine or a container)
       init userspace (as the first process of a system inside this one, whose mounts and root it shares)
       init boot|late|devices|names|network|files|programs|shutdown|root (started by init)
       init version
       init script PATH (a script of plain commands, without its shell; started by init)`

func main() {
	// The kernel passes unknown parameters to its first process as arguments, so PID 1
	// ignores its arguments.
	if os.Getpid() == 1 || pid1.Resumed() {
		os.Exit(pid1.Main())
	}
	if helper.Called() {
		os.Exit(exit(helper.Run(os.Args)))
	}
	if alias, ok := modules.RequestedAlias(os.Args); ok {
		os.Exit(exit(modules.LoadRequested(alias)))
	}
	args := os.Args[1:]
	switch {
	case len(args) == 0 && environment.InContainer(), len(args) == 1 && args[0] == "userspace":
		os.Exit(pid1.Main())
	case len(args) == 1 && args[0] == "version":
		fmt.Println(version.Line("init"))
		return
	case len(args) == 2 && args[0] == role.Script:
		os.Exit(runner.Interpret(args[1]))
	}
	run := find(args)
	if run == nil {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, userspace.Read())
	stop()
	os.Exit(exit(err))
}

// find returns the role that args name, or nil.
func find(args []string) func(context.Context, userspace.Environment) error {
	if len(args) == 0 {
		return nil
	}
	name, args := args[0], args[1:]
	switch name { // roles with arguments
	case role.Network:
		return func(ctx context.Context, env userspace.Environment) error { return boot.Network(ctx, env, args) }
	case role.Names:
		return func(ctx context.Context, env userspace.Environment) error { return boot.Names(ctx, env, args) }
	case role.Files:
		return func(ctx context.Context, env userspace.Environment) error { return boot.Files(ctx, env, args) }
	case role.Programs:
		return func(ctx context.Context, env userspace.Environment) error { return programs.Run(ctx, env, args) }
	}
	if len(args) > 0 {
		return nil
	}
	return map[string]func(context.Context, userspace.Environment) error{
		role.Boot: boot.Up, role.Late: boot.Late, role.Devices: boot.Devices, role.Shutdown: boot.Down, role.Root: initrd.Up,
	}[name]
}

// exit prints err and returns the exit status.
func exit(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "init:", err)
	return 1
}
