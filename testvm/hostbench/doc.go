// Package hostbench has tests only: systems with one, ten and a hundred services
// in namespaces on the host's kernel. Tests count, and hold the counts: all
// services come up, and nothing wakes up while nothing happens. Figures of time
// and memory are only printed, when -hostbench.figures asks for them; they are
// the host's and not to be compared with those of other machines.
//
// Not for the boot of a machine (package bench).
//
// Sources: proc_pid_status(5) (voluntary_ctxt_switches), proc_pid_smaps(5)
// (smaps_rollup), time_namespaces(7) (the boot-time clock is shared).
//
// Times are seconds or milliseconds as named, memory is KiB.
package hostbench
