// Package probe checks whether a service is ready and whether it is healthy, with the
// probes that package bundle reads from annotations.
//
// Each check runs in the service's environment:
//
//   - TCP and HTTP use a socket made in the container's network namespace. The socket is
//     made on a thread that ends afterwards, so that no thread of this process stays in
//     another namespace. The kernel sends a Pdeathsig when the thread that started the
//     child ends: a process that uses this package must keep that thread with
//     runtime.LockOSThread until the child has ended.
//   - The path of a Unix socket is resolved in the container's root; no symbolic link
//     leads out of it.
//   - Messages of sd_notify(3) are received on a socket in a private folder of the
//     container or, without one, on an abstract socket in its network namespace. All
//     processes of that namespace can send to it, so messages are accepted only from
//     processes in the container's cgroup.
//
// Unix sockets, logs and notifications are waited for by events. TCP, HTTP and commands
// are polled, at first every 10 ms, then less often, at least twice a second.
//
// The package does not restart anything: that is the supervisor's task. Every function
// blocks until it is done or its context ends, and may be called from any goroutine.
//
// Sources: sd_notify(3), unix(7), network_namespaces(7), setns(2),
// openat2(2), inotify(7), cgroups(7) (/proc/PID/cgroup), RFC 9112 section 4.
//
// Errors are of the form "tcp 127.0.0.1:80: connection refused"; a context's
// own error is returned, wrapped, when the caller ended it.
package probe
