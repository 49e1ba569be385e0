// Command service is keelson's supervisor (service supervise) and its command line.
// Under the names poweroff, reboot and halt it is that command, and under the names
// containerd and ctr it is that program: one file, since they share most packages.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"keelson/services/containerd/daemon"
	"keelson/services/ctr"
)

func main() {
	name := filepath.Base(os.Args[0])
	switch name {
	case "containerd":
		os.Exit(daemon.Main(os.Args[1:]))
	case "ctr":
		os.Exit(ctr.Main(os.Args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	args := os.Args[1:]
	if _, ok := shutdowns[name]; ok {
		args = append([]string{name}, args...)
	}
	if len(args) > 0 {
		if r, ok := internals[args[0]]; ok {
			code, err := r.start(ctx, args[0], args[1:], os.Stdout)
			if err != nil {
				fmt.Fprintln(os.Stderr, "service:", err)
			}
			os.Exit(code)
		}
	}
	os.Exit(commandLine(os.Stdin, os.Stdout, os.Stderr).Run(ctx, args))
}
