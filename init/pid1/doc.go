// Package pid1 is the first process. It mounts the core file systems, leaves the
// initramfs, starts containerd and the boot role, keeps containerd and the supervisor
// running, reaps orphans, handles signals, and shuts the system down.
//
// It reads nothing from containers and speaks no protocol: code that may fail on
// input of an image runs in a child. It must not end, which would be a kernel panic:
// nothing here exits, no write to a console or file is waited for, all threads are
// made at the start, and every goroutine recovers. After a panic PID 1 re-executes
// itself (reexec.go) and takes over its children (recall.go).
//
// The steps of the boot are listed in lists.go, those of the shutdown in shutdown.go;
// both are recorded on the timeline. In userspace mode (package environment), PID 1
// does not change what belongs to the outer system, and exits instead of rebooting.
// Signals: SIGUSR1 halts, SIGUSR2 powers off, SIGTERM and SIGINT (ctrl-alt-del)
// reboot; others are ignored.
//
// Sources: init(8) of busybox for the signals; reboot(2), kill(2), signal(7),
// proc_pid_cmdline(5); the kernel's Documentation/ABI/testing/dev-kmsg and
// admin-guide/sysctl/kernel.rst (panic).
package pid1
