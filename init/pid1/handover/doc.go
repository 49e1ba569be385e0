// Package handover replaces the program of a process by a new image with
// execve(2) and passes state to it. The process keeps its PID and its children.
//
// Exec saves the state and executes the program, which gets the state from Load. The
// state is an opaque payload in a file that exists only in memory (memfd_create(2)) and
// stays open across execve(2), so that a full file system does not matter. The
// environment variable KEELSON_HANDOVER holds the file descriptor.
//
// No signal is lost while the program is replaced. The Go runtime's own handler
// only queues a signal for a goroutine, and execve(2) ends all threads before the
// goroutine runs. Exec therefore installs a handler in assembly, one for each
// architecture, which records signals in the file, and then blocks signals: those that
// arrive later stay pending until the new program handles them.
//
// Layout of the file: magic, slots for a note and for caught signals, then version,
// length, checksum (CRC-32) and payload. Except for the slots, one thread writes the
// file; it writes the magic last, and a file without magic is not valid. Numbers are
// little-endian; the limit is 1 MiB.
//
// Sources: execve(2), memfd_create(2), rt_sigaction(2), sigprocmask(2), signal(7),
// sigreturn(2); the kernel's include/linux/signal_types.h.
package handover
