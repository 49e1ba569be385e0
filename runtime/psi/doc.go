// Package psi waits until tasks of the machine lose too much time by waiting for memory: the
// kernel's pressure stall information. "full" is the share of the time in which tasks
// wanted to run and all of them waited for memory, because the kernel had to find some, or had to read
// again from a disk what it had just dropped.
//
// A Trigger is an order to the kernel: it measures while memory is being reclaimed, and wakes
// those who poll when the threshold is exceeded, at most once per window. At rest it
// costs nothing.
//
// Errors are those of open(2), write(2) and poll(2); ErrUnknown if the kernel does not measure.
//
// Sources: the kernel's accounting/psi.rst and kernel/sched/psi.c.
package psi
