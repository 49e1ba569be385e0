// Command init is the first process of a keelson system, the roles it starts
// itself in (boot, late, devices, network, files, shutdown, root, script), and the kernel's
// helper for loading modules and for running programs.
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
	"keelson/init/scripts"
	"keelson/runtime/version"
)

func main() {
	// What the kernel does not know on its command line it hands to its first
	// process as arguments: they choose no role there.
	if os.Getpid() == 1 || pid1.Again() {
		os.Exit(pid1.Main())
	}
	if helper.Called() {
		os.Exit(exit(helper.Run(os.Args)))
	}
	if alias, ok := modules.RequestedAlias(os.Args); ok {
		os.Exit(exit(modules.LoadRequested(alias)))
	}
	// So it is inside of another system, in userspace mode.
	if len(os.Args) == 1 && pid1.Inside() || len(os.Args) == 2 && os.Args[1] == "userspace" {
		os.Exit(pid1.Main())
	}
	if len(os.Args) == 2 && os.Args[1] == "version" {
		fmt.Println(version.Line("init"))
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "script" {
		os.Exit(scripts.Interpret(os.Args[2]))
	}
	roles := map[string]func(context.Context) error{"boot": boot.Up, "late": boot.Late, "devices": boot.Devices, "shutdown": boot.Down, "root": initrd.Up,
		boot.NetworkRole: func(ctx context.Context) error { return boot.Network(ctx, os.Args[2:]) },
		boot.FilesRole:   func(ctx context.Context) error { return boot.Files(ctx, os.Args[2:]) }}
	if len(os.Args) < 2 || len(os.Args) > 2 && os.Args[1] != boot.NetworkRole && os.Args[1] != boot.FilesRole || roles[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: init (as the first process of a machine or a container)\n"+
			"       init userspace (as the first process of a system inside of this one, whose mounts and root it shares)\n"+
			"       init boot|late|devices|network|files|shutdown|root (started by init)\n"+
			"       init version\n"+
			"       init script PATH (a script of plain commands, without its shell; started by init)")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := roles[os.Args[1]](ctx)
	stop()
	os.Exit(exit(err))
}

// exit says why and gives the exit code.
func exit(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "init:", err)
	return 1
}
