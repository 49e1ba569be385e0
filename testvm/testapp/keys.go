package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// key has the kernel ask for a key that nobody has, which it does by starting
// /sbin/request-key. It fails as that does.
func key(args []string) error {
	_, err := unix.RequestKey("user", arg(args, 0), "callout", 0)
	return fmt.Errorf("no key: %w", err)
}
