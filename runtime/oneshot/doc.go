// Package oneshot runs a bundle to completion with an OCI runtime's command
// line: the onboot and onshutdown containers.
//
// It supervises nothing that stays (package supervisor does) and decides
// nothing about failures: the result says what happened.
//
// The runtime may be runc or any other with runc's command line. A container
// with nothing to do between create and start is one `runc run`; there, as in
// a shell, an exit status of 128+N is read as death by signal N, since the
// runtime reports nothing else. Otherwise create and start are separate
// calls, and the container's first process becomes a child of this process
// (PR_SET_CHILD_SUBREAPER), so that its true status is known. Do not use the
// package in a process that waits for any child.
//
// Sources: OCI runtime-spec, runtime.md ("Lifecycle"); runc(8), runc-run(8),
// runc-create(8); prctl(2).
//
// Times are wall-clock (Started) and elapsed (Took). Run returns no error:
// Result.Err has what kept the container from running or made it be ended.
package oneshot
