// Package pid1 is the first process. It mounts what must be there, leaves the
// initramfs, starts containerd and the boot role, keeps containerd and the
// supervisor alive, collects orphans, takes signals, and shuts down.
//
// It reads nothing from containers and speaks to nobody: whatever may fail on
// foreign input runs in a child. It must not end, since that is a kernel panic;
// so nothing here exits, no write to a console or file is waited for, threads are
// all made at the start, and every goroutine recovers. After a panic it executes
// itself again (again.go), and takes over what it has handed itself (recall.go).
//
// On the way up and down it walks lists (see lists.go). Both are told on the
// timeline. Inside of another system (place.go, userspace.go) it leaves alone
// what is that one's, and exits instead of rebooting. Signals: SIGUSR1 halts, SIGUSR2 powers off, SIGTERM and SIGINT
// (ctrl-alt-del) reboot; others are ignored.
//
// Sources: execve(2), memfd_create(2), rt_sigaction(2), namespaces(7), prctl(2) (PR_SET_CHILD_SUBREAPER),
// proc_pid_stat(5); init(8) of busybox for the signals; reboot(2), kill(2), signal(7),
// setrlimit(2); the kernel's Documentation/ABI/testing/dev-kmsg,
// admin-guide/sysctl/kernel.rst (panic) and init/initramfs.c for what it says
// when unpacking fails.
package pid1
