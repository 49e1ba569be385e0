// Package initrd is the role of init in an initramfs that only leads to a root
// on a disk: it loads the modules for the disk, waits until the disk is there,
// and mounts the root on /sysroot. PID 1 then makes that its own root.
//
// An initramfs that is such a stage says so by /etc/initrd-release; in any
// other root= means nothing. It assembles no RAID and asks for no passwords,
// and finds no file systems by their own label or UUID, only partitions by
// theirs.
//
// The kernel command line says what is wanted, as it does to a kernel without
// an initramfs: root=, rootfstype=, rootflags=, rootwait, ro, rw. What cannot
// be used is an error that names the parameter.
//
// Sources: the kernel's admin-guide/kernel-parameters.rst (root=, rootwait),
// init/do_mounts.c; Documentation/ABI/stable/sysfs-block and block/partitions
// for uevents of disks; netlink(7), NETLINK_KOBJECT_UEVENT; os-release(5),
// initrd-release.
package initrd
