// Package timeline is the boot's record of what happened when: one Event for
// each thing done, as a line on the console and as a line of JSON in a file
// that PID 1, the boot role and the supervisor share.
//
// It is not a general log: it has the stages that the test harness waits for and that
// `service boot` shows with their durations.
//
// Times are CLOCK_BOOTTIME (clock_gettime(2)), durations since the kernel
// started, so they do not jump when the wall clock is set. In JSON they are
// integers in nanoseconds; on the console seconds with three decimals.
//
// Append relies on write(2) with O_APPEND being atomic on a local file system: an event
// is written by a single call, so lines of several processes do not mix. Errors are those of open(2) and write(2).
package timeline
