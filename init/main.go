// Command init is the first process of a keelson system, the roles it starts
// itself in (boot, late, shutdown), and the kernel's helper for loading modules.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"keelson/init/boot"
	"keelson/init/modules"
	"keelson/init/pid1"
)

func main() {
	// What the kernel does not know on its command line it hands to its first
	// process as arguments: they choose no role there.
	if os.Getpid() == 1 {
		pid1.Main()
	}
	if alias, ok := modules.Wish(os.Args); ok {
		os.Exit(exit(modules.Fulfil(alias)))
	}
	roles := map[string]func(context.Context) error{"boot": boot.Up, "late": boot.Late, "shutdown": boot.Down}
	if len(os.Args) != 2 || roles[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: init boot|late|shutdown (as the first process: no arguments)")
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
