// Package bench measures the boot of one fixed image: three onboot containers
// and three services, each a busybox that leaves a mark in the kernel log.
//
// Time is virtual: QEMU counts one nanosecond per guest instruction on one CPU,
// and the guest's random numbers come from a seed, so a measurement gives the
// same figures again on any host, however busy. Several seeds are averaged:
// which of the things that run side by side comes first depends on chance, and
// on every change of the code as well. It measures work, not parallelism. Zero
// is the kernel's line "Run /init as init process".
//
// Any other kernel and initrd can be measured beside it if its containers
// write the same marks to /dev/kmsg:
//
//	keelson-bench: onboot N          N = 1, 2, 3
//	keelson-bench: service N         N = 1, 2, 3
//	keelson-bench: clock NS          now by /proc/timer_list; without it the stages are off by some ms
//	keelson-bench: memory KEY KIB    from /proc/meminfo, once all services are up
//	keelson-bench: process PID RSS PSS ANON NAME    KiB, from smaps_rollup
//	keelson-bench: power off         just before PID 1 is asked to power off
//
// Compare goes by the clock on the wall instead, on two processors: two images in
// turn, of which the ratios can be trusted. Not for native measurements.
//
// Sources: QEMU manual "TCG instruction counting"; Linux
// Documentation/ABI/testing/dev-kmsg, proc(5), Documentation/filesystems/proc.rst
// (smaps_rollup), Documentation/driver-api/early-userspace/buffer-format.rst.
//
// Times are seconds, sizes bytes.
package bench
