// Package scripts is LinuxKit's /etc/init.d and /etc/shutdown.d: programs of
// the image that run one after the other in name order, between init's own steps, which
// have the names of LinuxKit. Plan returns the order; Run runs one program.
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
// Sources: LinuxKit's docs/architecture.md and the folders of its packages init,
// runc and containerd; execve(2), readdir(3);
// sh(1posix).
package scripts
