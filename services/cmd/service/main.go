// Command service is keelson's supervisor (service supervise) and the command
// line that asks it. Called as poweroff, reboot or halt it does that.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	args := os.Args[1:]
	if name := filepath.Base(os.Args[0]); name != "service" {
		if _, ok := commands[name]; ok {
			args = append([]string{name}, args...)
		}
	}
	code, err := run(ctx, args, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
	}
	os.Exit(code)
}
