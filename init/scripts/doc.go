// Package scripts runs the programs in LinuxKit's /etc/init.d and /etc/shutdown.d, one
// after the other in name order. init's own steps are ordered among them by the names
// that LinuxKit gave them. Plan returns the order; Run runs one program.
//
// It is not sysvinit: there are no arguments, runlevels or dependencies. A script is
// expected to end; one that does not delays the following steps, as in LinuxKit, and is
// logged.
//
// Interpret runs a script whose shell is missing if it consists of plain commands. It is
// not a shell: it has no expansion, pipes, conditions, loops or functions.
//
// Run returns errors of execve(2), and ErrInterrupted.
//
// Sources: LinuxKit's docs/architecture.md and the folders of its packages init, runc
// and containerd; execve(2), readdir(3), sh(1posix).
package scripts
