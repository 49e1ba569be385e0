// Package containerd runs services as tasks of a containerd daemon: one
// container and one task of the same id for each, from an OCI spec whose root
// is an absolute path, with no image and no snapshot.
//
// It speaks containerd's gRPC API (github.com/containerd/containerd/api)
// without containerd's client package, which would add a third to the
// supervisor's size. It keeps no state: who calls it decides what shall run.
//
// Output goes to FIFOs, whose both ends the shim opens: it needs neither
// containerd nor supervisor to be there.
package containerd
