// Package upgrade replaces keelson's own programs, which are containerd, the shim, runc and
// the supervisor itself, while services run.
//
// An upgrade goes through two supervisors. The one before reads and checks the new programs,
// puts them into use and ends (order.go). The one among the new programs is on trial: it
// checks that all of them work and that services run as before, waits for the probation, and
// commits (trial.go). PID 1 restores the programs before if the supervisor ends or takes too
// long (init/pid1/trial). plan.go says what a supervisor finds at its start, and what it does
// then.
//
// Files of programs are in runtime/programs, versions in services/versions.
package upgrade
