// Package console carries the messages people read while the system boots
// and shuts down: to every device of the command line's console= and, so that
// they stay readable later, to the kernel log.
//
// A caller never waits. Messages go into a queue of bounded size which one
// goroutine empties; when it is full messages are dropped, counted, and the
// count is shown as soon as there is room. Events go to the timeline by another.
// A panic of either is told and survived. A serial line that takes nothing
// for a second is passed over until it takes bytes again. A console whose driver
// is a module gets what was said before that was loaded, up to 64 KiB.
//
// It is not the log of services (containerd's shims write those) and not a
// general logging library: levels, sinks and formats are fixed.
//
// Sources: tty_ioctl(4), console_ioctl(4), the kernel's
// Documentation/ABI/testing/dev-kmsg (a record's priority in angle brackets),
// Documentation/admin-guide/serial-console.rst (console= values).
//
// Only Close and timeline.Append return errors; a device that cannot be
// opened or written is retried at the next message.
package console
