// Package fsimage makes files that hold a file system of a tree, by the tools
// of the file system's authors, without root rights, loop devices or mounts.
//
// The same tree gives the same bytes: times and identifiers are given by the
// caller. It is not for partitions (package disk).
//
// Sources: mksquashfs(1) "-tar", mkfs.erofs(1), fakeroot(1), mkfs.fat(8),
// mcopy(1) of mtools, mke2fs(8). Sizes are in bytes.
package fsimage
