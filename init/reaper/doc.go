// Package reaper starts processes and reaps every child that ends: the processes that it
// has started, whose exit status it keeps, and orphans, which an init inherits.
//
// Nothing else in the process may wait for children, because wait4(-1) would take their
// status: os/exec cannot be used together with a Reaper. One lock is held while a child
// is started and registered, and while children are reaped. So a child that ends
// immediately is never mistaken for an orphan, and a signal never reaches a process that
// reuses the PID of a reaped child.
//
// The children survive when the process executes another program: Freeze lists them
// before, Adopt takes them over afterwards.
//
// Exit codes are 0 to 255. Errors are those of fork, execve(2) and kill(2).
//
// Sources: wait(2), signal(7), credentials(7), PR_SET_CHILD_SUBREAPER in prctl(2).
package reaper
