// Package tree is a file system in memory: a set of entries that images, files
// and modules are put into, and that is written as a newc cpio archive for the
// kernel or read from and written to tar.
//
// It is not for extended attributes, which newc cannot carry, nor for trees
// that do not fit in memory.
//
// Sources: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst
// and init/initramfs.c for newc, tar(5) and archive/tar for tar. Paths have no
// leading slash and are clean; modes are permission bits as in chmod(2).
package tree
