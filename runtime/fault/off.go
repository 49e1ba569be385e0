//go:build !faults

package fault

// Here does nothing.
func Here(string) {}

// Spoil does nothing.
func Spoil([]byte) {}
