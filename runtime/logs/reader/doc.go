// Package reader reads the logs of a system by time: those of services, one-shot containers
// and containerd in /var/log and /run/log, the kernel's, and keelson's own messages. It
// merges several logs, follows them, and formats their lines.
//
// The time of a line comes from the index of its log (package index), from the record of the
// kernel log, or from a logging daemon (to the second). Times since the boot become times of
// day by the difference of the clocks now, so a clock that was set after the boot does not
// change the order of lines. For earlier boots it is the difference that was known last.
// Without an index, or before its first record, only the latest possible time is known: that
// of the next record, or of the last change of the file. Such a line has Entry.Bound, and
// counts as written at that time. A log that is followed has the time at which its line was
// seen then. containerd prints times of its own, which are used before its first record.
//
// Within one log, lines keep their order. Memory is bounded: 16 KiB per log, whatever the
// lengths of its lines. A longer line is returned in parts (Entry.More); a filter decides by
// the first one. A log is read up to the size that it has at the start, unless it is
// followed. With Since, reading begins at the place that the index has for it.
//
// A log may be rotated, truncated, removed and created while it is read. A part that is
// rotated twice before it is read is missing.
//
// The name of a log is that of its file, without `.log` or `.out.log`: NAME for a service,
// onboot.NNN-NAME and shutdown.NNN-NAME for one-shot containers. The kernel's is "kernel",
// that of init and supervisor "keelson".
//
// Sources: inotify(7), Documentation/ABI/testing/dev-kmsg, systemd's journalctl(1).
package reader
