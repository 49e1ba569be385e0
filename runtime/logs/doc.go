// Package logs copies the output of containers to files of bounded size, or sends it to a
// logging daemon.
//
// A stream is a pipe or a FIFO. splice(2) moves its bytes to the file: they leave the
// pipe only as they reach the file. The process that copies may be killed at any time;
// the next one that opens the FIFO continues without losing or repeating a byte. A file
// that is close to its limit is renamed to PATH.1, in place of the previous one. Each
// file has one writer, and only the writer rotates it. While the file cannot be
// written, output is dropped so that a full disk does not block a service; this is
// logged, and the number of missing bytes is written to the file when that is possible
// again.
//
// Beside each file, an index has the times at which its parts were written (package
// index). Package reader reads logs by time.
//
// The package does not format output and knows nothing about containers; package oneshot
// and the supervisor use it for containers.
//
// Sources: pipe(7), fifo(7), splice(2), tee(2), inotify(7), unix(7) (SCM_RIGHTS);
// LinuxKit's logging protocol as described in docs/logs.md.
//
// Sizes are in bytes; a limit is for PATH, PATH.1 and their indexes together. Errors of a file go to
// Options.Logger, never to the container.
package logs
