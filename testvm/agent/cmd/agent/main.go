// Command agent is the guest half of keelson/testvm/agent.
package main

import (
	"fmt"
	"os"

	"keelson/testvm/agent"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run() error {
	port, err := agent.OpenPort(agent.Port)
	if err != nil {
		return err
	}
	return agent.Serve(port, "/proc/1/ns/mnt")
}
