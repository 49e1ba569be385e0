// Package boot holds the roles of init that run once and may fail without harm to
// PID 1: the boot role, which configures the machine and runs its onboot containers,
// the shutdown role, which runs the onshutdown containers, and the roles late,
// devices, network and files.
//
// The boot role, in order: loads modules and those that the kernel requests later,
// sets the clock and the host name, creates the target of /etc/resolv.conf, brings up
// lo and the network devices that ip= names (those that appear later are left to the
// role Network), mounts the volumes, runs the containers of /containers/onboot one
// after the other, and shows /etc/issue. PID 1 does the core mounts and limits, the
// supervisor starts the services.
//
// A step that fails does not stop the others. The rules of an onboot container
// (package policy) decide what its failure means: another attempt, the next
// container, a prompt (package rescue), or shutdown, which the role requests from
// PID 1 by a signal; it then waits for its end. Results are recorded as events and,
// for containers, as JSON in /run/keelson. While onboot containers run, the boot role
// watches the power button; later, the supervisor does.
//
// Sources: rtc(4), clock_settime(2), sethostname(2), issue(5).
package boot
