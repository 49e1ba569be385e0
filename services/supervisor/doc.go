// Package supervisor owns the states of the services of an image: every bundle in
// /containers/services is a service, and runs as a task of containerd.
//
// The goroutine of Serve owns all states; other goroutines only post to it. Package task
// makes, follows and ends the container of a service and reports events; package machine
// says what follows an event, and this package does it. What services wait for is
// computed by package order.
//
// The way of a crash: handle (events.go) receives task.Ended, hasEnded decides by the
// restart policy, apply (transition.go) changes the state and arms the delay. After that,
// reconcile (reconcile.go) starts the service unless there is an obstacle, and launch
// (events.go) makes the next task.
//
// The supervisor may die at any time. Containers keep running with their shims, and its
// state is in StateDir/state; the next supervisor takes over the tasks that containerd
// lists (takeover.go).
//
// Durations are times of CLOCK_BOOTTIME; those shown to people are wall-clock times. An
// error of one service is in its status, never in the result of Serve.
package supervisor
