// Package prepare makes the preparations for a container that its bundle's runtime.json
// lists: cgroups, mounts and directories before it is created, network interfaces and
// namespace binds between create and start.
//
// It does not run containers. Mounts inside the bundle's own directory (its root
// filesystem and the tmpfs of its upper layer) belong to the container, and release
// unmounts them. Mounts elsewhere configure the system, as by an onboot container that
// mounts a file system for later ones, and stay.
//
// Prepare may be called again at any time: existing mounts stay as they are. So a
// restarted supervisor can take over a running service.
//
// Sources: LinuxKit's docs/yaml.md ("runtime"), mount(2), namespaces(7),
// cgroups(7), Documentation/filesystems/overlayfs.rst.
//
// Errors name the bundle and the step, and wrap mounts.Error. New directories have mode
// 0755.
package prepare
