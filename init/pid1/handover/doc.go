// Package handover replaces the program of a process by a new image with
// execve(2) and passes state to it. The process keeps its PID and its children.
//
// Exec saves the state and executes; the new program gets it from Load. The state
// is a payload, opaque here, in a file that exists in memory only
// (memfd_create(2)) and stays open across execve(2), so a full file system is no
// obstacle. Its number is in the environment variable KEELSON_HANDOVER.
//
// No signal is lost while the program is replaced. The Go runtime's own handler
// only notes a signal for a goroutine to take later, and execve(2) ends all
// threads before that. Exec therefore installs a handler in assembly, one for each
// architecture, which writes the number of a signal into the file, then blocks
// signals: those that arrive later stay pending until the new program takes them.
//
// Layout of the file: magic, slots for a note and for caught signals, then version,
// length, checksum (CRC-32) and payload. It is written by one thread, except for
// the slots, and the magic comes last: without it nothing is valid. Numbers are
// little-endian; the limit is 1 MiB.
//
// Sources: execve(2), memfd_create(2), rt_sigaction(2), sigprocmask(2), signal(7),
// sigreturn(2); the kernel's include/linux/signal_types.h.
package handover
