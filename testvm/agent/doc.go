// Package agent lets a test on the host act in a guest: run programs, read and write files,
// list processes, read the kernel log.
//
// The server (cmd/agent) is a static program that runs as a service container with `pid:
// host`, `net: host`, all capabilities and /dev bound. It serves net/rpc with JSON on the
// virtio-serial port org.keelson.agent.0. It has no state, so that a restarted agent can
// continue. It works in the mount namespace of PID 1, not in its own.
//
// It is not for production images: the agent obeys anyone who can open the port.
//
// Sources: setns(2), unshare(2) (CLONE_FS), syslog(2), proc(5), netlink(7)
// (NETLINK_KOBJECT_UEVENT), Linux Documentation/ABI/testing/sysfs-class-virtio.
//
// Memory is in bytes. Errors from the guest are returned as text.
package agent
