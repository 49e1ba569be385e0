// Package vm boots an image and watches what becomes of it: lines and boot
// events on its console, how it ends, and what an agent inside reports.
//
// The guest's failure is the caller's error: a kernel panic, a fatal event of
// /init, a machine that ends too soon, or a context that runs out while the
// guest hangs all come back as a *Failure that carries the last lines of the
// console. Package vmtest wraps this for tests.
//
// Not for planning machines (package qemu) or building images (package image).
//
// Sources: Linux kernel/panic.c ("Kernel panic - not syncing", "end Kernel
// panic"), kernel/reboot.c ("reboot: System halted"); keelson/runtime/timeline
// for the boot events.
package vm
