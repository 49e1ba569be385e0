// Package boot is the two roles of init that run once and may fail without
// harm to PID 1: bringing the machine and its onboot containers up, and
// running the onshutdown containers on the way down.
//
// What it does to the system, in order: loads modules, serves the kernel's
// wishes for more, sets the clock and the host name, makes what
// /etc/resolv.conf leads to, brings up lo and what ip= asks for (role Network for
// devices that come later), mounts the
// volumes, runs the containers of /containers/onboot one after the other, and
// shows /etc/issue. Core mounts and limits are PID 1's work, services the
// supervisor's.
//
// A step that fails costs only itself. What the failure of an onboot container
// means is up to its rules (package policy): another attempt, the next
// container, a person's say (package rescue), or the way down, for which it
// asks PID 1 by signal and then waits for its end. All are told as events and,
// for containers, as JSON in /run/keelson. While onboot containers run it heeds
// the power button, as the supervisor does later.
//
// Sources: rtc(4), clock_settime(2), sethostname(2), issue(5).
package boot
