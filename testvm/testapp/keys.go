package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// key requests a key that does not exist, for which the kernel starts /sbin/request-key. It
// fails as that program does.
func key(args []string) error {
	_, err := unix.RequestKey("user", arg(args, 0), "callout", 0)
	return fmt.Errorf("no key: %w", err)
}
