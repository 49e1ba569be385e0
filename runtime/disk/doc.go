// Package disk finds, formats, checks, grows and mounts what is on the disks of a machine, with
// the programs of Debian for that, and turns on swap. Package plan decides; what is here
// observes (State) and acts (Run). It is meant for a container in which /dev and the folder of
// the mount point are those of the machine.
//
// It needs no shell and no udev, runs e2fsprogs, xfsprogs, btrfs-progs, dosfstools, sfdisk,
// mkswap and cryptsetup directly, and only those that a task needs.
//
// Sources: the kernel's Documentation/ABI/stable/sysfs-block, /testing/sysfs-block-dm, zram.rst
// (admin-guide/blockdev); swapon(2), proc_swaps(5), sfdisk(8), mke2fs(8), e2fsck(8),
// resize2fs(8), xfs_growfs(8), btrfs-filesystem(8), mkfs.fat(8), fsck.fat(8), cryptsetup(8); the
// LUKS2 On-Disk Format Specification, 2.1.
package disk
