// Command agent is the server of keelson/testvm/agent in the guest.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"keelson/testvm/agent"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		// The harness sees the console; priority 2 shows on a quiet one.
		_ = os.WriteFile("/dev/kmsg", []byte("<2>keelson-agent: "+err.Error()), 0)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	port, err := agent.OpenPort(agent.Port)
	if err != nil {
		return err
	}
	return agent.Serve(ctx, port, "/proc/1/ns/mnt")
}
