// Package vm boots an image and observes it: the lines and boot events on its console,
// the way it ends, and the answers of an agent in the guest.
//
// A failure of the guest is returned as a *Failure with the last lines of the console: a
// kernel panic, a fatal event of /init, a machine that ends too soon, or a context that
// expires while the guest hangs. Package vmtest wraps this package for tests.
//
// Package qemu describes machines, package image builds images.
//
// Sources: Linux kernel/panic.c ("Kernel panic - not syncing", "end Kernel
// panic"), kernel/reboot.c ("reboot: System halted"); keelson/runtime/timeline
// for the boot events.
package vm
