// Package tree implements a file system in memory: a set of entries to which images,
// files and modules are added. It is written as a newc cpio archive for the kernel, or
// read from and written to tar archives and directories.
//
// It has no extended attributes, which newc does not support, and must fit in memory.
//
// Sources: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst
// and init/initramfs.c for newc, tar(5) and archive/tar for tar. Paths have no
// leading slash and are clean; modes are permission bits as in chmod(2).
package tree
