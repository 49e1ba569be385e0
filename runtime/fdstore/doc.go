// Package fdstore keeps file descriptors for a program that may die, so that its
// successor gets them.
//
// PID 1 holds both ends of a pair of connected datagram sockets (Pair) and passes them to
// the program, which sends a message with the descriptors to itself (Store). The message
// stays in the queue of the kernel, and with it the files that the descriptors refer to,
// as long as PID 1 keeps the pair. PID 1 never reads it: it parses nothing and cannot
// block. The next program reads the message.
//
// The message of the last Put is the content. Put sends a message before it removes the
// one before, and Load sends a copy of what it reads before it removes the original, so
// that a program may be killed at any instant. Generations tell which message is newer.
//
// Sources: unix(7), "Ancillary messages"; socketpair(2); recv(2), MSG_PEEK.
package fdstore
