// Package toolbox runs tools of one bundle beside the processes of a container that runs, for people who look
// into it: an image without a shell has no other way. The tools have the PID, network, IPC, UTS, user,
// cgroup and time namespaces of the container, all capabilities in them and no filter of system calls.
//
// Their root is a copy of the bundle's files in memory, so that nothing of it remains. /service in it is
// a link to /proc/PID/root of the container's first process: its files with all mounts as they are at
// the moment, and no file system is kept busy. resolv.conf and hosts are those of the container.
//
// The tools have a cgroup of their own: what they use is not counted for the container, whose limits
// they cannot exceed. When memory is short, the kernel ends them before anything else.
//
// The runtime makes the container of the tools in a mount namespace of its own (package mounts,
// Apart), and ends; then this process is the parent of the first tool. All mounts, and the state of
// the runtime, end with the last tool. What a process that dies leaves is a cgroup with the tools; its
// name is that of a file in Dir, which is locked (flock(2)) as long as the process exists. Sweep in
// another process kills such tools, and removes both.
//
// Tools whose parent has ended become children of the container's first process, as its own do; one that
// does not wait for children has zombies then.
//
// Sources: namespaces(7), ioctl_ns(2), proc_pid_root(5), Documentation/filesystems/overlayfs.rst,
// PR_SET_CHILD_SUBREAPER(2const), config-linux.md of the OCI runtime specification.
package toolbox
