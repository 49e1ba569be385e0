// Package logs takes what containers print to files of bounded size, or hands
// it over to a logging daemon.
//
// A stream is a pipe or a FIFO. splice(2) moves its bytes to the file: they
// leave the pipe only as they reach the file, so whoever copies may be killed
// at any instant, and the next one that opens the FIFO goes on with neither a
// byte lost nor one doubled. A file whose limit is near becomes PATH.1 in the
// place of the one before. There is one writer per file, and only it may
// rotate. Where the file cannot be written, what comes is dropped, told once,
// and counted in the log when it can be written again: a full disk must not
// hold up a service.
//
// It formats nothing and knows no container; package oneshot and the
// supervisor do.
//
// Sources: pipe(7), fifo(7), splice(2), tee(2), inotify(7), unix(7)
// (SCM_RIGHTS); LinuxKit's logging protocol as told in docs/logs.md.
//
// Sizes are bytes; a limit is for PATH and PATH.1 together. Errors of a file
// go to Options.Logger, never to the container.
package logs
