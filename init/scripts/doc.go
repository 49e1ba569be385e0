// Package scripts is LinuxKit's /etc/init.d and /etc/shutdown.d: programs of
// the image run one after the other in name order, among init's own steps,
// which have the names LinuxKit gave them. Plan says in what order; Run runs
// one.
//
// It is not sysvinit: no arguments, no runlevels, no dependencies. A script is
// expected to end; one that does not holds up what comes after it, as in
// LinuxKit, and is reported.
//
// A script whose shell is missing is run by Interpret, where it is nothing but
// plain commands. This is no shell: nothing is expanded, and there are no pipes,
// conditions, loops or functions.
//
// Run gives errors of execve(2), and ErrInterrupted.
//
// Sources: LinuxKit's docs/architecture.md and the folders of its packages init,
// runc and containerd; execve(2), readdir(3);
// sh(1posix).
package scripts
