// Package mounts knows what is mounted where in a keelson system: the core
// file systems and the folders, links and nodes on them, cgroups, the way out
// of the initramfs, LinuxKit's volumes, and the order in which everything is
// unmounted, with swap and the loop, device-mapper and md devices below. What to do is computed by functions without side effects and
// tested as tables; few functions make system calls.
//
// It is not a mount(8): it reads no fstab, starts no helpers and takes no
// labels or UUIDs. It belongs to the root namespace of the system; what a
// container sees is the OCI runtime's business.
//
// Every failed system call is reported as *Error, which unwraps to the errno.
// Paths are absolute unless said otherwise.
//
// Sources: mount(2), umount2(2), mount_namespaces(7), statfs(2),
// proc_pid_mountinfo(5), swapoff(2), loop(4), linux/dm-ioctl.h,
// linux/raid/md_u.h; kernel documents filesystems/ramfs-rootfs-
// initramfs.rst, filesystems/sharedsubtree.rst, filesystems/overlayfs.rst,
// admin-guide/cgroup-v1/cgroups.rst, admin-guide/cgroup-v2.rst,
// admin-guide/devices.txt.
package mounts
