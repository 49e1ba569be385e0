// Package index stores when the parts of a log were written, in a file beside the log. The
// log itself stays byte for byte what the program wrote.
//
// The index of /var/log/NAME.log is /var/log/.NAME.log.times, and it is renamed with the
// log. It is written by the process that copies output to the log: before it copies bytes to
// an offset, it appends a record of that offset and the time, at most one each Interval. So
// a line was written at the time of the last record at or before its first byte, or at most
// Interval later; lines between two records share the earlier time. The copier does not look
// at the bytes, which splice(2) moves. It wakes up only when a program writes.
//
// Times are CLOCK_BOOTTIME (clock_gettime(2)), so a wall clock that is set does not change
// their order. For the boot that runs, a reader adds the current difference to the wall
// clock. A log on a disk has records of several boots; for each, the header has the
// difference that was known last.
//
// An index is a hint and not a part of the log: if it is missing, torn or wrong, lines lose
// their times and nothing else. It names its log by inode number and time of birth
// (statx(2)); one that belongs to another file, or has offsets beyond the end of the log, is
// ignored. So a log that was truncated, replaced or copied has no times rather than wrong
// ones. The size of an index counts towards the limit of its log, which bounds it.
//
// Format, little-endian:
//
//	header, 512 bytes
//	    0  8 bytes   "klogidx" and the version, 1
//	    8  uint64    inode number of the log
//	   16  int64     time of birth of the log, ns since 1970; 0: the file system has none
//	   24  uint32    number of boots, at most 20; the first ones are dropped when there are more
//	   32  20 times  boot: 8 bytes of /proc/sys/kernel/random/boot_id, uint64 offset of its
//	                 first byte, int64 wall clock minus time since the boot, µs
//	records, 12 bytes each
//	    0  uint48    offset in the log, greater than that of the record before
//	    6  uint48    time since the boot, µs; never 0
//
// A zero time at the end is what a power cut can leave; such records do not count.
package index
