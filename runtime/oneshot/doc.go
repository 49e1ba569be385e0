// Package oneshot runs a bundle to completion with an OCI runtime's command
// line: the onboot and onshutdown containers.
//
// It does not supervise services (package supervisor does) and does not decide what
// follows a failure: Result reports what happened.
//
// The runtime may be runc or any other with runc's command line. A container with
// nothing to prepare between create and start is one `runc run`, in a process of its own
// or in that of a Runner. An exit status of 128+N then means death by signal N, as in a
// shell, since the runtime reports no more. Otherwise create and start are separate calls,
// and the container's first process becomes a child of this process
// (PR_SET_CHILD_SUBREAPER), so that its exact status is known. Do not use the package in a
// process that waits for any child.
//
// Sources: OCI runtime-spec, runtime.md ("Lifecycle"); runc(8), runc-run(8),
// runc-create(8); prctl(2).
//
// Result.Started is wall-clock time, Result.Took elapsed time. Run returns no error:
// Result.Err has the reason why the container did not run or was ended.
package oneshot
