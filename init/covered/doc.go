// Package covered brings the files of an image that init's own mounts cover back
// into view: /run, /tmp and /var of the root are folders on which init mounts an
// empty tmpfs, and what the image has there is copied onto that.
//
// PID 1 calls Look, which reads the names in three folders. Restore is for a
// role. It never replaces what exists, so folders that init makes keep their
// mode and owner. On an initramfs it moves files, so that memory holds them once.
//
// Paths are absolute, sizes in bytes. Look has no errors: a folder that cannot be
// read covers nothing. Restore returns an error when it cannot begin; what fails
// for single files is in its Report.
//
// Sources: mount_namespaces(7), open(2) (O_TMPFILE), getdents64(2), xattr(7),
// kernel document filesystems/tmpfs.rst.
package covered
