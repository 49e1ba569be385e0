// Package probe learns whether a service is ready, and whether it is well,
// by the probes that package bundle reads from annotations.
//
// Each check acts where the service does. TCP and HTTP are spoken from a
// socket made in the container's network namespace; only that socket is made
// there, on a thread that is thrown away afterwards, so that no thread goes
// back to work in a foreign namespace. (So a process that uses this must
// not start children with a Pdeathsig: that is sent when a thread ends.) The path of a Unix socket is resolved
// in the container's root, which no symbolic link leads out of. Messages of
// sd_notify(3) come to an abstract socket in the container's network
// namespace: nothing needs to be mounted for it. Since such a name is seen by
// all who share that namespace, only processes of the container's cgroup are
// listened to.
//
// Unix sockets, logs and notifications are waited for by events; TCP, HTTP
// and commands cannot be, and are tried 10 ms after one another at first,
// then ever less often, down to twice a second.
//
// It decides nothing: who restarts what is the supervisor's concern. Every
// function blocks until it is done or its context ends, and may be called by
// any goroutine.
//
// Sources: sd_notify(3), unix(7), network_namespaces(7), setns(2),
// openat2(2), inotify(7), cgroups(7) (/proc/PID/cgroup), RFC 9112 section 4.
//
// Errors are of the form "tcp 127.0.0.1:80: connection refused"; a context's
// own error is returned, wrapped, when the caller ended it.
package probe
