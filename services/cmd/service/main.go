// Command service is keelson's supervisor (service supervise) and the command
// line that asks it. Called as poweroff, reboot or halt it does that; called as
// containerd or ctr it is that, in the same file because they are made of much the
// same packages.
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
	if _, ok := ways[name]; ok {
		args = append([]string{name}, args...)
	}
	code, err := run(ctx, args, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
	}
	os.Exit(code)
}
