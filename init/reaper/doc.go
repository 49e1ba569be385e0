// Package reaper starts processes and collects every child that ends: those
// it started, of which it tells how they ended, and orphans, which an init
// inherits and nobody asks about.
//
// Nothing else in the process may wait for children: wait4(-1) would take
// their status away, which is why os/exec has no place beside a Reaper. One
// lock is held across starting a child and registering it, and across
// collecting, so a child that ends at once is never mistaken for an orphan,
// and a signal never reaches a process that took over a collected child's id.
//
// Exit codes are 0 to 255. Errors are those of fork, execve(2) and kill(2).
//
// Sources: wait(2), signal(7), credentials(7), PR_SET_CHILD_SUBREAPER in
// prctl(2).
package reaper
