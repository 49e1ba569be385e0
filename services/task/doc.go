// Package task runs one container as a task of containerd. A Runner makes the
// container from a bundle, or takes over one that an earlier supervisor has started; a
// Task follows it to its end: output, readiness, health, limits, exit.
//
// A task reports typed events to its owner. It knows no states, no restart policy and no
// other service: all this belongs to services/supervisor.
//
// Two goroutines follow a task while it runs, one that waits for the process and one
// that waits for containerd; a container may have one more for each of its probes, its
// notification socket and its limit of processes. All end with the task.
//
// Processes are watched and signalled by pidfd, never through containerd, which may hang.
//
// Sources: containerd's task API; pidfd_open(2), pidfd_send_signal(2); cgroups(7);
// cgroup-v2.rst; sd_notify(3).
package task
