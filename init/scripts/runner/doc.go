// Package runner runs one script of /etc/init.d or /etc/shutdown.d (package scripts).
//
// Interpret runs a script whose shell is missing if it consists of plain commands. It is
// not a shell: it has no expansion, pipes, conditions, loops or functions.
//
// Run returns errors of execve(2), and ErrInterrupted.
//
// Sources: execve(2), sh(1posix).
package runner
