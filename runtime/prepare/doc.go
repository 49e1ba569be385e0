// Package prepare does what a bundle's runtime.json asks for around its
// container: cgroups, mounts and directories before it is created, network
// interfaces and namespace binds between create and start.
//
// It runs no container. Mounts inside the bundle's own directory (its root
// filesystem and the tmpfs of its upper layer) belong to the container and
// are taken down by release. Mounts elsewhere are set-up of the system, as in
// an onboot container that gives later ones a file system, and stay.
//
// Prepare may be called again at any time: what is mounted already is left
// alone. That lets a restarted supervisor take over a running service.
//
// Sources: LinuxKit's docs/yaml.md ("runtime"), mount(2), namespaces(7),
// cgroups(7), Documentation/filesystems/overlayfs.rst.
//
// Errors name the bundle and the step; mounts.Error is inside them. Modes are
// 0755 throughout.
package prepare
