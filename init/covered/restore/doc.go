// Package restore copies the files of an image that init's mounts cover (package covered)
// to these mounts.
//
// It never replaces a file, so folders that init makes keep their mode and owner. On an
// initramfs it moves files, so that memory holds them once.
//
// Paths are absolute, sizes are in bytes. Files returns an error when it cannot begin;
// failures of single files are in its Report.
//
// Sources: mount_namespaces(7), open(2) (O_TMPFILE), xattr(7), kernel document
// filesystems/tmpfs.rst.
package restore
