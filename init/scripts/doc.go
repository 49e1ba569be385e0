// Package scripts plans the run of the programs in LinuxKit's /etc/init.d and
// /etc/shutdown.d, one after the other in name order. init's own steps are ordered among
// them by the names that LinuxKit gave them. Package runner, in a role, runs them.
//
// It is not sysvinit: there are no arguments, runlevels or dependencies. A script is
// expected to end; one that does not delays the following steps, as in LinuxKit, and is
// logged.
//
// Sources: LinuxKit's docs/architecture.md and the folders of its packages init, runc
// and containerd; readdir(3).
package scripts
