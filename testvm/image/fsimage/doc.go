// Package fsimage writes file systems to files with the tools of the file systems'
// authors, without root, loop devices or mounts.
//
// The same tree gives the same bytes: the caller passes times and identifiers.
// Partitions are made by package disk.
//
// Sources: mksquashfs(1) "-tar", mkfs.erofs(1), fakeroot(1), mkfs.fat(8),
// mcopy(1) of mtools, mke2fs(8); for dm-verity, veritysetup(8). Sizes are in bytes.
package fsimage
