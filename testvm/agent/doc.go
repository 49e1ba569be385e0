// Package agent lets a test on the host act inside a guest: run a program,
// read and write files, look at processes and the kernel's log.
//
// The guest half (cmd/agent) is a static program that runs as a service
// container with `pid: host`, `net: host`, all capabilities and /dev bound.
// It serves net/rpc with JSON (stateless, so that a restarted agent goes on
// where the last one stopped) on the virtio-serial port org.keelson.agent.0.
// What it does happens in the mount namespace of PID 1, not in its own.
//
// Not for images that people use: the agent obeys anyone at the port.
//
// Sources: setns(2), unshare(2) (CLONE_FS), syslog(2), proc(5), netlink(7)
// (NETLINK_KOBJECT_UEVENT), Linux Documentation/ABI/testing/sysfs-class-virtio.
//
// Memory figures are bytes. Errors from the guest come back as text.
package agent
