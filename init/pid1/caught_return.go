//go:build amd64 || arm64

package pid1

// caughtReturn is what the kernel needs a handler to return to.
//
//lint:ignore U1000 The kernel calls it.
func caughtReturn()
