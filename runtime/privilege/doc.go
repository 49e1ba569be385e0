// Package privilege compares the bundles of two versions of a service: which privileges
// the new one has that the old one does not have, and what differs at all. It reads and
// changes nothing on the machine.
//
// Both files of a bundle are compared as JSON, field by field, also fields that this
// program does not know. A difference is a gain unless a rule knows it to be harmless:
// the service's own command, environment and working directory, or less of anything. So a
// field that a later version of the OCI specification defines is a gain until somebody
// decides otherwise.
//
// Not compared are the files of the root, which are the new version itself: a service
// can do with its privileges whatever its programs do.
//
// Sources: OCI runtime-spec, config.md and config-linux.md; runc's libcontainer/specconv,
// for fields that are absent; capabilities(7), mount(2), mount_namespaces(7), getrlimit(2),
// seccomp(2).
package privilege
