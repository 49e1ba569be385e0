// Package supervisor keeps the services of an image running: every bundle in
// /containers/services is a task of containerd.
//
// One goroutine, Serve's, owns all state; others only post to it: one for
// each service that follows its container, and those that carry requests.
// What happens when is decided by package machine; this one turns the world
// into its events and carries out its actions.
//
// The supervisor may die at any time. Containers live on with their shims,
// and its state is in StateDir/state; a new one takes over the tasks that
// containerd lists. When containerd dies, services are kept and the
// connection is made again; one that hangs is killed, for PID 1 to start it
// anew. Processes are watched and signalled by pidfd, never through containerd.
//
// A service starts when what it is ordered after is ready, and stops when
// nobody needs it any more; services that do not know of each other start and
// stop at the same time.
//
// Sources: containerd's task API; pidfd_open(2), pidfd_send_signal(2);
// cgroups(7), memory.events.
//
// Times on the timeline are CLOCK_BOOTTIME, those for people wall-clock. An
// error of one service is in its status, never in Serve's result.
package supervisor
