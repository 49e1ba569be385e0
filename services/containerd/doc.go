// Package containerd runs services as tasks of a containerd daemon: one
// container and one task of the same ID for each, from an OCI spec whose root
// is an absolute path, with no image and no snapshot.
//
// It speaks containerd's gRPC API (github.com/containerd/containerd/api)
// without containerd's client package, which would add a third to the
// supervisor's size. It keeps no state: its caller decides what runs.
//
// Output goes to FIFOs. The shim opens both ends of them, so output does not stop when
// containerd or the supervisor ends.
//
// No error has a type of gRPC: match ErrUnavailable, ErrNoKeyring and
// context.DeadlineExceeded with errors.Is.
package containerd
