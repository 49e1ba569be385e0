// Package boots keeps what is known of the last boots of a machine whose /var is on a disk: when
// each began and how it ended, its kernel log, the last words of its kernel (pstore), the output of
// its one-shot containers, and where its lines begin in the logs of services.
//
// Each boot is a folder of Dir, NUMBER-ID: boots are in the order of their numbers, whatever the
// clock was. A folder without files that can be read is a boot of which nothing else is known.
//
//	begin        how it began, in JSON; written before the folder gets its name
//	asked        who has ordered its end, in JSON; renamed to
//	end          how it ended: when keelson's supervisor has stopped the services, or at the next boot
//	kernel       records of the kernel log, as in /dev/kmsg (package kmsg), the first line of each.
//	             A line =MICROSECONDS is the difference of the wall clock to the time since the boot
//	kernel.1     those before
//	pstore-NAME  files of /sys/fs/pstore: the last words of a kernel that crashed
//	log/         logs of one-shot containers, which were in memory
//
// Logs of services are not moved or copied: programs read and write them at their plain paths, in
// which the output of all boots is one text. A boot begins in a log where the log ended when the
// boot began (Mark). What loses an index or the end of a file in a power cut does not move that
// place.
//
// The boot role begins a boot (Start), once all is mounted and before a service writes; the
// supervisor keeps the rest (Keep). PID 1 does nothing. What cannot be stored is reported, and
// missing: a full disk stops nothing. Changes are durable (package durable) except for appended
// lines of the kernel log, which the kernel writes within half a minute.
//
// Sizes are in bytes. Texts of the kernel and of other programs may contain anything.
//
// Sources: Documentation/admin-guide/ramoops.rst, Documentation/ABI/testing/pstore,
// Documentation/watchdog/watchdog-api.rst, random(4) (boot_id).
package boots
