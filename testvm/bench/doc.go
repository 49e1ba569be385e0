// Package bench measures the boot of one fixed image: three onboot containers
// and three services, each a busybox that writes a mark to the kernel log.
//
// Time is virtual: QEMU counts one nanosecond per guest instruction on one CPU,
// and the guest's random numbers come from a seed, so a measurement gives the
// same figures on any host under any load. Several seeds are averaged, because the
// order of concurrent work depends on chance and on every change of the code. The
// figures measure work, not parallelism. Zero is the kernel's line "Run /init as init
// process".
//
// Any other kernel and initrd can be measured if its containers write the same marks to
// /dev/kmsg:
//
//	keelson-bench: onboot N          N = 1, 2, 3
//	keelson-bench: service N         N = 1, 2, 3
//	keelson-bench: clock NS          now by /proc/timer_list; without it the stages are off by some ms
//	keelson-bench: memory KEY KIB    from /proc/meminfo, once all services are up
//	keelson-bench: process PID RSS PSS ANON NAME    KiB, from smaps_rollup
//	keelson-bench: power off         just before PID 1 is asked to power off
//
// Compare uses real time and two processors instead: it boots two images in turn, whose
// ratios are reliable. It makes no measurements on hardware.
//
// Sources: QEMU manual "TCG instruction counting"; Linux
// Documentation/ABI/testing/dev-kmsg, proc(5), Documentation/filesystems/proc.rst
// (smaps_rollup), Documentation/driver-api/early-userspace/buffer-format.rst.
//
// Times are seconds, sizes bytes.
package bench
