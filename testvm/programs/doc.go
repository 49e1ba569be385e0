// Package programs contains only tests: they replace containerd, the shim, runc and the
// supervisor of a system under a running service, by versions that work and by versions that
// fail in each way, and kill what takes part at each state. The systems run in namespaces on
// the host's kernel.
package programs
