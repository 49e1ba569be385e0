// Package covered finds the files of an image that init's mounts cover: init mounts an
// empty tmpfs on /run, /tmp and /var. Package restore, in a role, copies these files to
// the mounts.
//
// PID 1 calls Find, which reads the names in three folders. It returns no error: a folder
// that cannot be read covers nothing.
//
// Sources: open(2), getdents64(2).
package covered
