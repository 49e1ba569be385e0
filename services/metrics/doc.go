// Package metrics describes services, the boot and keelson's own processes in the text
// format of OpenMetrics 1.0
// (https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md).
//
// Gather reads what the kernel counts, when it is asked; nothing is sampled in between.
// Names begin with keelson_; units are seconds and bytes. What the kernel or a controller
// does not count is left out: a missing metric is not zero.
//
// Sources: cgroup-v2.rst, cgroup-v1/memory.rst, cgroup-v1/cpuacct.rst, accounting/psi.rst
// of the kernel, and proc_pid_stat(5).
package metrics
