// Package corecgroup keeps the processes that the system depends on in a cgroup of their own,
// whose memory the kernel does not take back: PID 1, containerd, the shims and the supervisor.
// When services use up the memory, the kernel reclaims theirs, also that of the files that
// they have mapped, and the core can still stop and restart them.
//
// The cgroup is a child of the root of the unified hierarchy, beside those of the services. The root
// limits nothing, so that the protection of a child of it has its full effect, and it may
// have processes of its own besides. A child process begins in the cgroup of its parent:
// PID 1 joins, its daemons are born there, and what runs programs of others leaves.
//
// cgroups of version 1 have no such protection (memory.soft_limit_in_bytes only orders reclaim),
// and in userspace mode the cgroups belong to the outer system.
//
// Sizes are bytes. Errors are those of mkdir(2), open(2) and write(2).
//
// Sources: cgroup-v2.rst ("Memory Interface Files", "CPU Interface Files", "No Internal Process
// Constraint"), cgroups(7).
package corecgroup
