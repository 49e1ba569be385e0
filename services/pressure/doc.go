// Package pressure restarts the service that is worst off when the machine loses its time by
// waiting for memory, before it stands still. The kernel says when (package psi); Choose, a function
// without side effects, says which service; the supervisor restarts it like one that is unhealthy.
//
// It is not for memory that is used up at once: then the kernel kills a process (OOM killer).
//
// Sizes are bytes. What cannot be read of a service counts as 0: a service that is gone is not
// chosen.
//
// Sources: the kernel's accounting/psi.rst; cgroup-v2.rst ("Memory Interface Files");
// proc_meminfo(5); proc_pid_oom_score_adj(5), whose score Choose follows.
package pressure
