// Package containerd is the supervisor's view of containerd: tasks made from
// a bundle whose root filesystem is a plain directory, with no image and no
// snapshot. It speaks the gRPC API alone; containerd's client package would
// add half the size of the program again.
//
// It decides nothing and keeps nothing but the connection, which comes back
// by itself when containerd does: Ready waits for that. A call that failed
// because containerd went away answers ErrGone.
//
// Logs: containerd's shim writes standard output and standard error to the
// paths given. They are given as plain paths to files that exist, since for a
// file:// URI the shim puts both streams into one file.
//
// Sources: containerd's api/services/{containers,tasks}/v1 and
// docs/runtime-v2.md; inotify(7).
//
// An exit code of 128+N stands for death by signal N, as containerd reports
// it. Errors are wrapped gRPC errors, or ErrGone or ErrNotFound.
package containerd
