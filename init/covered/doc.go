// Package covered restores the files of an image that init's mounts cover: init mounts
// an empty tmpfs on /run, /tmp and /var, and the image's files there are copied to it.
//
// PID 1 calls Find, which reads the names in three folders. A role calls Restore. It
// never replaces a file, so folders that init makes keep their mode and owner. On an
// initramfs it moves files, so that memory holds them once.
//
// Paths are absolute, sizes are in bytes. Find returns no error: a folder that cannot be
// read covers nothing. Restore returns an error when it cannot begin; failures of single
// files are in its Report.
//
// Sources: mount_namespaces(7), open(2) (O_TMPFILE), getdents64(2), xattr(7),
// kernel document filesystems/tmpfs.rst.
package covered
