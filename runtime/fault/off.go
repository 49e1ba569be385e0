//go:build !faults

package fault

import "time"

// Here does nothing.
func Here(string) {}

// Spoil does nothing.
func Spoil([]byte) {}

// Shorten returns limit.
func Shorten(limit time.Duration) time.Duration { return limit }
