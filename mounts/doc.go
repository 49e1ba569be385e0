// Package mounts mounts and unmounts the file systems of a keelson system: the core file
// systems with the folders, links and nodes on them, cgroups, the root outside of the
// initramfs, and LinuxKit's volumes. At shutdown it also turns off swap and stops loop,
// device-mapper and md devices. It mounts erofs images with dm-verity. Functions without side
// effects compute what to do and are tested as tables; few functions make system calls.
//
// It is not a mount(8): it reads no fstab, starts no helpers and takes no labels or
// UUIDs. It works in the root namespace of the system; the OCI runtime mounts what a
// container sees.
//
// A failed mount or unmount call is returned as *Error, which unwraps to the errno.
// Paths are absolute unless said otherwise.
//
// Sources: mount(2), umount2(2), mount_namespaces(7), statfs(2),
// proc_pid_mountinfo(5), swapoff(2), loop(4), linux/dm-ioctl.h,
// linux/raid/md_u.h, linux/loop.h; kernel documents filesystems/ramfs-rootfs-
// initramfs.rst, filesystems/sharedsubtree.rst, filesystems/overlayfs.rst,
// admin-guide/cgroup-v1/cgroups.rst, admin-guide/cgroup-v2.rst,
// admin-guide/devices.txt, admin-guide/device-mapper/verity.rst.
package mounts
