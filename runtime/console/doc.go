// Package console shows the messages of the boot and the shutdown on every console= of
// the command line and records them in the kernel log.
//
// A caller never waits. Messages go into a queue of bounded size, which one goroutine
// empties. When it is full, messages are dropped and counted, and the count is shown as
// soon as there is room. Another goroutine appends events to the timeline. Both survive
// panics, which are reported. A serial line that accepts no byte for a second is skipped
// until it accepts bytes again. A console whose driver is a module gets the earlier
// messages, up to 64 KiB, when the driver is loaded.
//
// It is not the log of services, and not a general logging library: levels, sinks and
// formats are fixed.
//
// Sources: tty_ioctl(4), console_ioctl(4), the kernel's
// Documentation/ABI/testing/dev-kmsg (a record's priority in angle brackets),
// Documentation/admin-guide/serial-console.rst (console= values).
//
// Only Close and timeline.Append return errors; a device that cannot be
// opened or written is retried at the next message.
package console
