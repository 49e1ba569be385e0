// Package hostbench contains only tests: they boot systems with 1, 10 and 100 services in
// namespaces on the host's kernel. The tests check that all services come up and that
// keelson does not wake up while nothing happens. Times and memory are measured and printed
// if -hostbench.figures is set; they depend on the host and cannot be compared with figures
// of other machines.
//
// The boot of a machine is measured by package bench.
//
// Sources: proc_pid_status(5) (voluntary_ctxt_switches), proc_pid_smaps(5)
// (smaps_rollup), time_namespaces(7) (the boot-time clock is shared).
//
// Times are seconds or milliseconds as named, memory is KiB.
package hostbench
