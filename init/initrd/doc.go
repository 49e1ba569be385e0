// Package initrd is the role of init in an initramfs that only mounts a root on a disk:
// it loads the modules for the disk, waits until the disk exists, and mounts the root on
// /sysroot. PID 1 then switches to that root. It is found by node, by partition, or by UUID or label
// of the file system (runtime/blkid).
//
// Such an initramfs contains /etc/initrd-release; in others root= has no effect. The
// role assembles no RAID and asks for no password.
//
// The parameters are those that the kernel itself takes: root=, rootfstype=, rootflags=,
// rootwait, ro, rw. The error for a value that cannot be used names the parameter.
//
// Sources: the kernel's admin-guide/kernel-parameters.rst (root=, rootwait),
// init/do_mounts.c; Documentation/ABI/stable/sysfs-block and block/partitions
// for uevents of disks; netlink(7), NETLINK_KOBJECT_UEVENT; os-release(5),
// initrd-release.
package initrd
